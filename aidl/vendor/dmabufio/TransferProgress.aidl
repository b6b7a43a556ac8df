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

/** How far a batch of submit() is. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable TransferProgress {
    /** Bytes that have moved so far. Never decreases; grows by at most 32 MiB at a time. */
    long bytes;
    /**
     * Bytes of all extents of the batch. The batch may end before it has moved so many: at the end
     * of a file, at an error, or because it was cancelled.
     */
    long totalBytes;
    /** Whether the batch has ended, so that getResult() has the outcome. */
    boolean ended;
}
