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

/** What became of one item of a load: a buffer and its receipt, or an error. */
@VintfStability
parcelable LoadedItem {
    /** The filled buffer, which belongs to the caller; null if it could not be filled. */
    @nullable Buffer buffer;
    /** How it was filled; null if it could not be. */
    @nullable Receipt receipt;
    /**
     * 0 if it was filled. Otherwise what transfer() would report: a value of Error, or the negative
     * code of an exception (EX_SECURITY, EX_UNSUPPORTED_OPERATION, ...).
     */
    int error;
    /** Why it could not be filled; empty if it was. */
    @utf8InCpp String message;
}
