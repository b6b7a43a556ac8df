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

import vendor.dmabufio.Extent;

/** One buffer of a load. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable LoadItem {
    /**
     * Size of the buffer in bytes, as for BufferDesc.size, greater than zero. To load nothing, ask
     * for a buffer of any size and one extent of length 0.
     */
    long size;
    /** The ranges to load, as for TransferRequest.extents. The rest of the buffer is zero. */
    Extent[] extents;
}
