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

import vendor.dmabufio.Buffer;
import vendor.dmabufio.Receipt;

/** The result of one item of a load: a buffer and its receipt, or an error. */
@VintfStability
parcelable LoadedItem {
    /** The filled buffer, which belongs to the caller; null if the item failed. */
    @nullable Buffer buffer;
    /** The receipt for filling the buffer; null if the item failed. */
    @nullable Receipt receipt;
    /**
     * 0 if the buffer was filled. Otherwise the code that transfer() would report: a value of
     * Error, or the negative code of an exception (EX_SECURITY, EX_UNSUPPORTED_OPERATION, ...).
     */
    int error;
    /** The reason of the failure; empty if the buffer was filled. */
    @utf8InCpp String message;
}
