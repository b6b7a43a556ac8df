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

/** Why bytes did not take the best path. */
@VintfStability
@Backing(type="int")
enum FallbackReason {
    /** They did. */
    NONE = 0,
    /** The caller asked for Mode.BUFFERED. */
    REQUESTED = 1,
    /** The kernel has no DMA_BUF_IOCTL_RW_FILE. */
    NO_IOCTL = 2,
    /** The exporter of the buffer does not implement DMA_BUF_IOCTL_RW_FILE. */
    EXPORTER = 3,
    /** A device is attached to the buffer, or the kernel has it mapped. */
    BUFFER_BUSY = 4,
    /**
     * The file, or the file system it lies on, cannot do direct I/O for a reason that it does not
     * tell.
     */
    FILE_NOT_DIRECT = 5,
    /** The file system can be stalled by a user-space daemon (FUSE). */
    FILE_SYSTEM_STALLS = 6,
    /** fileOffset and bufferOffset differ modulo the alignment that direct I/O needs. */
    UNALIGNED = 7,
    /** Direct I/O through a mapping needs a file descriptor opened with O_DIRECT. */
    DESCRIPTOR_NOT_DIRECT = 8,
    /**
     * The page cache holds most of it already, and copying is faster than reading it again. The
     * service sees that only where the kernel tells it: for a descriptor that can write, or a file
     * of its own. A client that sees it can ask for Mode.BUFFERED, as the client library does.
     */
    RESIDENT = 9,
    /** The file has fs-verity: what is read is verified in the page cache. */
    FILE_VERITY = 10,
    /** The file is compressed by its file system. */
    FILE_COMPRESSED = 11,
    /** The file is encrypted by its file system without inline encryption hardware. */
    FILE_ENCRYPTED = 12,
    /** The file is so small that its file system keeps the data in the inode. */
    FILE_INLINE_DATA = 13,
}
