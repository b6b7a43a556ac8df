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

/** What a transfer did. bytesDirect + bytesBounced + bytesBuffered = bytes. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable Receipt {
    /**
     * Bytes moved. Less than the sum of the extents if a load met the end of the file; the buffer
     * beyond the end of the file is left as it was.
     */
    long bytes;
    /**
     * Bytes moved by direct I/O, past the page cache. Where a load can be checked, bytes that the
     * file system copied through the page cache all the same are not among them, whatever the mode.
     */
    long bytesDirect;
    /** Bytes at the edges of direct bodies, copied by the CPU: less than a page at each end. */
    long bytesBounced;
    /** Bytes copied by the CPU because their extent did not go direct. */
    long bytesBuffered;
    /** The method that moved the most bytes; NONE if nothing moved. */
    Method method = Method.NONE;
    /** Why the first body that did not take the best path did not; NONE if all did. */
    FallbackReason firstFallback = FallbackReason.NONE;
    /**
     * Whether all of bytesDirect was checked: the page cache did not take in what was loaded. False
     * for a save, if bytesDirect is 0, and where the kernel does not tell the service (for a
     * read-only descriptor of somebody else's file), most was cached before, or a contiguous piece
     * is shorter than 64 KiB. The client can then look at the page cache itself.
     */
    boolean checked;
    /** Nanoseconds from the arrival of the call to the start of its I/O. */
    long queueNanos;
    /** Nanoseconds spent in I/O. */
    long ioNanos;
    /** Nanoseconds spent making a save durable. */
    long syncNanos;
    /** The digest that was asked for; empty for Digest.NONE. */
    byte[] digest;
}
