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

/** The data that is on stable storage when a save returns. A load accepts only NONE. */
@VintfStability
@Backing(type="int")
enum Durability {
    /** No guarantee: a power failure may lose the data. */
    NONE = 0,
    /** The data and the metadata that is needed to read it back: fdatasync(2). */
    DATA = 1,
    /** The data and all metadata of the file: fsync(2). */
    FULL = 2,
}
