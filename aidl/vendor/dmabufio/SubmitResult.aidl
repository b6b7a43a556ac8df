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

import vendor.dmabufio.LoadResult;
import vendor.dmabufio.TransferResult;

/** The result of submit(): the outcome of each request. */
@VintfStability
parcelable SubmitResult {
    /**
     * One entry for each load, in the order of the request. A load that failed as a whole has the
     * same error in each of its items.
     */
    LoadResult[] loads;
    /** One entry for each transfer, in the order of the request. */
    TransferResult[] transfers;
}
