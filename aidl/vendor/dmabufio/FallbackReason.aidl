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

/** The reason why bytes did not take the best path. */
@VintfStability
@Backing(type="int")
enum FallbackReason {
    /** All bytes took the best path. */
    NONE = 0,
    /** The caller asked for Mode.BUFFERED. */
    REQUESTED = 1,
    /** The kernel has no DMA_BUF_IOCTL_RW_FILE. */
    NO_IOCTL = 2,
    /** The exporter of the buffer does not implement DMA_BUF_IOCTL_RW_FILE. */
    EXPORTER = 3,
    /**
     * A device waits to attach to the buffer; or one is attached, or the kernel has mapped the
     * buffer, on a kernel without DMA_BUF_IOCTL_RW_EXTENTS.
     */
    BUFFER_BUSY = 4,
    /**
     * The file, or its file system, cannot do direct I/O, and the file system does not report the
     * reason.
     */
    FILE_NOT_DIRECT = 5,
    /** The file system may stall: a user-space daemon (FUSE) serves it and need not answer. */
    FILE_SYSTEM_STALLS = 6,
    /** fileOffset and bufferOffset differ modulo the alignment that direct I/O needs. */
    UNALIGNED = 7,
    /** Direct I/O through a mapping needs a file descriptor with O_DIRECT. */
    DESCRIPTOR_NOT_DIRECT = 8,
    /**
     * The page cache holds most of the data already, and a copy is faster than a second read. The
     * kernel gives the service this information only for a writable descriptor or for a file of its
     * own. A client that has the information can ask for Mode.BUFFERED, as the client library does.
     */
    RESIDENT = 9,
    /** The file has fs-verity: the kernel verifies its data in the page cache. */
    FILE_VERITY = 10,
    /** The file system compresses the file. */
    FILE_COMPRESSED = 11,
    /** The file system encrypts the file without inline encryption hardware. */
    FILE_ENCRYPTED = 12,
    /** The file is so small that the file system keeps its data in the inode. */
    FILE_INLINE_DATA = 13,
}
