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
import vendor.dmabufio.Heap;
import vendor.dmabufio.Method;

/** What this service can do here. Found by probing when the service started; constant until it ends. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable Capabilities {
    /** The heap that allocate() uses. */
    Heap heap = Heap.SYSTEM;
    /** The methods that work on buffers of that heap in transfer(), best first. */
    Method[] methods;
    /**
     * The same for load(), which may know more ways to a buffer that it allocates. Open the file with
     * O_DIRECT if the first one is MAPPED_DIRECT.
     */
    Method[] loadMethods;
    /** The digests that transfer() can compute. Always holds Digest.NONE. */
    Digest[] digests;
    /** The page size in bytes: the alignment that direct I/O needs in file and buffer. */
    long pageSize;
    /** The largest buffer that allocate() accepts, in bytes. */
    long maxBufferBytes;
    /** The largest number of extents in one request. */
    int maxExtents;
}
