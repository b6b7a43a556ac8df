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

import vendor.dmabufio.LoadRequest;
import vendor.dmabufio.TransferRequest;

/**
 * A batch for submit(): requests that the service works on in this order, first the loads, then the
 * transfers. All buffers of the loads and all transfers together are 1 to IDmabufIo.MAX_BATCH, with
 * at most Capabilities.maxExtents extents in total.
 */
@VintfStability
parcelable SubmitRequest {
    /** Buffers to allocate and to fill, as for load(). */
    LoadRequest[] loads;
    /** Transfers between a file and a buffer of the caller, as for transfer(). */
    TransferRequest[] transfers;
}
