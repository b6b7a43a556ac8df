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

/** Service-specific error codes. The message of the status names the operand and the errno. */
@VintfStability
@Backing(type="int")
enum Error {
    /** Mode.DIRECT was asked for and a body byte could not go direct. No byte has moved. */
    NOT_DIRECT = 1,
    /**
     * The buffer is attached to a device, a resource is busy, or as many requests run, of this user
     * or of all users, as the service allows. Then the message has the number and the limit. Retry
     * later.
     */
    BUSY = 2,
    /**
     * Not enough memory, or the live buffers of this user would exceed half of it. The message has
     * the numbers.
     */
    NO_MEMORY = 3,
    /**
     * No space, or no quota, on the file system of the file (ENOSPC, EDQUOT), or the file would be
     * larger than a file can be there (EFBIG).
     */
    NO_SPACE = 4,
    /** The I/O failed. The errno is in the message. */
    IO = 5,
    /**
     * The file made no progress: for 10 seconds where a user-space daemon serves it (FUSE), 64 KiB
     * being progress, and for 60 seconds elsewhere, 64 MiB being progress. The piece that was being
     * moved then, at most that much within the extents, may still arrive later. Look at the daemon
     * or the disk, and at whoever else works on the file.
     */
    TIMED_OUT = 6,
}
