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

import vendor.dmabufio.Heap;
import vendor.dmabufio.Method;

/**
 * The abilities of this service on this device. The service probes them when it starts; they are
 * constant until it ends.
 */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable Capabilities {
    /** The heap that allocate() uses. */
    Heap heap = Heap.SYSTEM;
    /** The methods of transfer() that work on buffers of that heap, best first. */
    Method[] methods;
    /**
     * The methods of load() that work on buffers of that heap, best first. load() may have more
     * methods because it allocates the buffers itself. If the first method is MAPPED_DIRECT, open
     * the file with O_DIRECT.
     */
    Method[] loadMethods;
    /** The page size in bytes. Direct I/O needs this alignment in the file and in the buffer. */
    long pageSize;
    /** The largest buffer that allocate() accepts, in bytes. */
    long maxBufferBytes;
    /** The largest number of extents in one request. */
    int maxExtents;
}
