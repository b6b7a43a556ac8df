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

/** A method to move bytes between a file and a buffer. */
@VintfStability
@Backing(type="int")
enum Method {
    /** No byte has moved, or no byte will move. */
    NONE = 0,
    /** DMA_BUF_IOCTL_RW_FILE with DIRECT: the device moves the data; the CPU copies nothing. */
    RW_FILE_DIRECT = 1,
    /** DMA_BUF_IOCTL_RW_FILE without DIRECT: the kernel copies through the page cache. */
    RW_FILE_BUFFERED = 2,
    /** O_DIRECT read or write on a CPU mapping of the buffer. Only for page-backed buffers. */
    MAPPED_DIRECT = 3,
    /** Read or write on a CPU mapping of the buffer, through the page cache. */
    MAPPED_BUFFERED = 4,
}
