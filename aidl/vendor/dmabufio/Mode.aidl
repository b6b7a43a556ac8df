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

/** Controls whether a transfer bypasses the page cache. */
@VintfStability
@Backing(type="int")
enum Mode {
    /** The best possible path. A transfer never fails because direct I/O is impossible. */
    AUTO = 0,
    /**
     * Direct I/O for every body byte. If that is impossible, the transfer fails with
     * Error.NOT_DIRECT before any byte moves. The CPU still moves the edges, less than one page
     * each. A file system may move a body through the page cache without reporting it; where the
     * service can check this, the receipt counts the body in bytesBuffered.
     */
    DIRECT = 1,
    /** All bytes go through the page cache. */
    BUFFERED = 2,
}
