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

import vendor.dmabufio.Receipt;

/** What became of one transfer of a batch: a receipt, or an error. */
@VintfStability
parcelable TransferResult {
    /** How the bytes moved; null if the transfer failed. */
    @nullable Receipt receipt;
    /** 0 if the transfer succeeded. Otherwise as LoadedItem.error. */
    int error;
    /** Why the transfer failed; empty if it succeeded. */
    @utf8InCpp String message;
}
