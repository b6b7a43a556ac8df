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

/** The service-specific error codes. The message of the status names the operand and the errno. */
@VintfStability
@Backing(type="int")
enum Error {
    /** The caller asked for Mode.DIRECT, but a body byte cannot go direct. No byte has moved. */
    NOT_DIRECT = 1,
    /** A device keeps the buffer from direct I/O, or a resource is busy. Retry later. */
    BUSY = 2,
    /** There is not enough memory. */
    NO_MEMORY = 3,
    /**
     * The file system of the file has no space or no quota left (ENOSPC, EDQUOT), or the file would
     * exceed the largest file size of that file system (EFBIG).
     */
    NO_SPACE = 4,
    /**
     * The I/O failed, whatever the errno is (EINVAL too). Bytes may have moved before. The message
     * contains the errno.
     */
    IO = 5,
    /**
     * The transfer made no progress: for 10 seconds and 64 KiB if a user-space daemon serves the
     * file system (FUSE), for 60 seconds and 64 MiB otherwise. At most that many bytes within the
     * extents were in flight and may still arrive later. Check the daemon or the disk, and who else
     * uses the file.
     */
    TIMED_OUT = 6,
    /** ITransfer.cancel() ended the batch before this request had finished. */
    CANCELLED = 7,
    /**
     * The caller's user has as many buffers, bytes of buffers, blocking calls or batches as it may
     * have. The message names the limit and the use. A buffer counts until the last process that
     * holds it has closed it. The limits are a matter of the device.
     */
    QUOTA_EXCEEDED = 8,
}
