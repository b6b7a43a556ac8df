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

/** The description of a buffer to allocate. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable BufferDesc {
    /** Size in bytes, greater than zero. The service rounds it up to whole pages. */
    long size;
    /**
     * A name for the purpose of the buffer: printable ASCII, may be empty. The dma-buf statistics
     * of the kernel show it as "dmabufio:(uid):(tag)", cut to 31 bytes.
     */
    @utf8InCpp String tag;
}
