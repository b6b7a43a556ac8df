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

/**
 * Who waits for a transfer. Sets the I/O priority (ioprio_set(2)) that the transfer runs with, which
 * orders the requests that have reached the disk. The service starts requests in no order that a
 * client may rely on.
 */
@VintfStability
@Backing(type="int")
enum Priority {
    /** A person is waiting: best-effort class, highest level. */
    INTERACTIVE = 0,
    /** The service's own I/O priority. */
    NORMAL = 1,
    /** Nobody is waiting: idle class. */
    BACKGROUND = 2,
}
