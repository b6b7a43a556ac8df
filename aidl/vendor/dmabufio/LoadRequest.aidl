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

import vendor.dmabufio.LoadItem;
import vendor.dmabufio.Mode;
import vendor.dmabufio.Priority;

/** A load: one file and the new buffers to fill from it. */
@VintfStability
parcelable LoadRequest {
    /** The file, as for TransferRequest.file. */
    ParcelFileDescriptor file;
    /**
     * The buffers, at most IDmabufIo.MAX_BATCH, with at most Capabilities.maxExtents extents in
     * total. The service fills them in this order.
     */
    LoadItem[] items;
    /** Controls whether the load bypasses the page cache. */
    Mode mode = Mode.AUTO;
    /** Who waits for it. */
    Priority priority = Priority.NORMAL;
    /** A name for the buffers, as for BufferDesc.tag. */
    @utf8InCpp String tag;
}
