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

import vendor.dmabufio.Direction;
import vendor.dmabufio.Durability;
import vendor.dmabufio.Extent;
import vendor.dmabufio.Mode;
import vendor.dmabufio.Priority;

/** A transfer between one buffer and one file, in one or more extents. */
@VintfStability
parcelable TransferRequest {
    /**
     * The buffer, a dma-buf from any exporter: writable for LOAD, readable for SAVE. The caller
     * keeps it.
     */
    ParcelFileDescriptor buffer;
    /**
     * A regular file: readable for LOAD, writable and without O_APPEND for SAVE. The service
     * refuses to load a file of size 0 whose content the kernel makes when somebody reads it
     * (procfs). The caller keeps the file; the service never changes its position or flags. Open it
     * with only the access that the transfer needs: on Android the policy must allow the service
     * every access of the descriptor.
     */
    ParcelFileDescriptor file;
    /**
     * The ranges to move, 1 to Capabilities.maxExtents, in any order. They must not overlap in
     * the buffer (LOAD) or in the file (SAVE). The service merges ranges that continue each other
     * in file and buffer, so that only the merged range has unaligned edges. The caller need not
     * merge them.
     */
    Extent[] extents;
    /** The direction. */
    Direction direction = Direction.LOAD;
    /** Controls whether the transfer bypasses the page cache. */
    Mode mode = Mode.AUTO;
    /** Who waits for it. */
    Priority priority = Priority.NORMAL;
    /** The data that must be on stable storage on return. NONE for LOAD. */
    Durability durability = Durability.NONE;
    /** A name for logs and dumps. Printable ASCII, at most 31 bytes, may be empty. */
    @utf8InCpp String tag;
}
