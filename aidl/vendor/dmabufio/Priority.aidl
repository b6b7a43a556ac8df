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
 * Who waits for a transfer. Decides when the pieces of the transfer move while other requests want
 * the disk too, and with which I/O priority (ioprio_set(2)). The users of one priority share the
 * disk by bytes. The service starts requests in no order that a client may rely on.
 */
@VintfStability
@Backing(type="int")
enum Priority {
    /**
     * A person is waiting: four times the share of NORMAL; best-effort class of ioprio_set(2),
     * highest level.
     */
    INTERACTIVE = 0,
    /** A program is waiting: the service's own I/O priority. */
    NORMAL = 1,
    /**
     * Nobody is waiting: what the others leave, and a little in any case; idle class of
     * ioprio_set(2).
     */
    BACKGROUND = 2,
}
