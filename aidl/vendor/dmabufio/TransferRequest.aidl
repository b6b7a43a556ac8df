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

import vendor.dmabufio.Digest;
import vendor.dmabufio.Direction;
import vendor.dmabufio.Durability;
import vendor.dmabufio.Extent;
import vendor.dmabufio.Mode;
import vendor.dmabufio.Priority;

/** One buffer, one file, many extents. */
@VintfStability
parcelable TransferRequest {
    /**
     * The buffer, a dma-buf from any exporter. Writable for LOAD, readable for SAVE. Stays the
     * caller's.
     */
    ParcelFileDescriptor buffer;
    /**
     * A regular file. Readable for LOAD, writable and without O_APPEND for SAVE. Stays the
     * caller's: its position and flags are never changed. Open it with no more access than the
     * transfer needs: on Android the service must be allowed every access that the descriptor has.
     */
    ParcelFileDescriptor file;
    /**
     * The ranges to move, at most Capabilities.maxExtents, in any order. They may not overlap in
     * the buffer (LOAD) or in the file (SAVE). Ranges that continue each other in file and buffer
     * are moved as one, with unaligned edges at its ends only; they need not be merged before.
     */
    Extent[] extents;
    /** Which way to move data. */
    Direction direction = Direction.LOAD;
    /** How much must bypass the page cache. */
    Mode mode = Mode.AUTO;
    /** Who waits for it: the priority of its I/O, and not its place among waiting requests. */
    Priority priority = Priority.NORMAL;
    /** What must be on stable storage on return. NONE for LOAD. */
    Durability durability = Durability.NONE;
    /** A digest to compute over the moved bytes, in the order of the extents. */
    Digest digest = Digest.NONE;
    /** A name for the request in logs and dumps. Printable ASCII, at most 31 bytes, may be empty. */
    @utf8InCpp String tag;
}
