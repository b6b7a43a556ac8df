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
 * Who waits for a request. Sets the I/O priority (ioprio_set(2)) that the request runs with, which
 * matters only where the I/O scheduler of the disk uses it.
 *
 * It gives no order among requests that have not started: binder starts calls in the order in which
 * they arrive, and the service refuses those beyond its limits with Error.BUSY, whatever their
 * priority.
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
