/*
 * Copyright (C) 2026 The dmabufio authors
 *
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */

package vendor.dmabufio;

/** A way of moving bytes between a file and a buffer. */
@VintfStability
@Backing(type="int")
enum Method {
    /** No byte was moved, or none will be. */
    NONE = 0,
    /** DMA_BUF_IOCTL_RW_FILE with DIRECT: the device moves data straight between file and buffer. */
    RW_FILE_DIRECT = 1,
    /** DMA_BUF_IOCTL_RW_FILE without DIRECT: the kernel copies through the page cache. */
    RW_FILE_BUFFERED = 2,
    /** O_DIRECT read or write on a CPU mapping of the buffer. Page-backed buffers only. */
    MAPPED_DIRECT = 3,
    /** read or write on a CPU mapping of the buffer, through the page cache. */
    MAPPED_BUFFERED = 4,
}
