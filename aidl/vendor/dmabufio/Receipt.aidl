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

import vendor.dmabufio.FallbackReason;
import vendor.dmabufio.Method;

/** The report on a finished transfer. bytesDirect + bytesBounced + bytesBuffered = bytes. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable Receipt {
    /**
     * Bytes moved. If a load reached the end of the file, this is less than the sum of the extents,
     * and the service did not change the buffer beyond the end of the file.
     */
    long bytes;
    /**
     * Bytes moved by direct I/O, without the page cache. Where the service can check a load, this
     * count excludes bytes that the file system moved through the page cache, in every mode.
     */
    long bytesDirect;
    /** Bytes that the CPU moved at the edges of direct bodies: less than one page at each end. */
    long bytesBounced;
    /** Bytes that the CPU moved because their extent did not go direct. */
    long bytesBuffered;
    /** The method that moved the most bytes, or NONE if no byte moved. */
    Method method = Method.NONE;
    /** The reason why the first fallback happened, or NONE. */
    FallbackReason firstFallback = FallbackReason.NONE;
    /**
     * Whether the service checked all of bytesDirect: the page cache did not take in the loaded
     * data. False for a save; if bytesDirect is 0; if the kernel does not show the page cache to
     * the service (for a read-only descriptor of a file of another user); if most of the data was
     * cached before; or if a contiguous piece is shorter than 64 KiB. The client can then check the
     * page cache itself.
     */
    boolean checked;
    /** Nanoseconds from the arrival of the call to the start of its I/O, and between its pieces. */
    long queueNanos;
    /** Nanoseconds spent in I/O. */
    long ioNanos;
    /** Nanoseconds spent on making a save durable. */
    long syncNanos;
    /**
     * The number of the request in the dump and in the trace of the service. All items of a load,
     * and all requests of a batch, have the same number; no other request has it while the service
     * lives.
     */
    long id;
}
