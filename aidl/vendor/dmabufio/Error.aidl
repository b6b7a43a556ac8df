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
    /** The buffer is attached to a device, or a resource is busy. Retry later. */
    BUSY = 2,
    /** Not enough memory. */
    NO_MEMORY = 3,
    /**
     * No space, or no quota, on the file system of the file (ENOSPC, EDQUOT), or the file would be
     * larger than a file can be there (EFBIG).
     */
    NO_SPACE = 4,
    /**
     * The I/O failed, after bytes may have moved, whatever the errno is (EINVAL too). It is in the
     * message.
     */
    IO = 5,
    /**
     * The file system is served by a user-space daemon (FUSE) and made no progress for 10 seconds,
     * 64 KiB being progress. What was being moved then, at most 64 KiB within the extents, may
     * still arrive later. Look at the daemon, or copy the file elsewhere.
     */
    TIMED_OUT = 6,
}
