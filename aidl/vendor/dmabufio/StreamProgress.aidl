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

/** How far a stream is. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable StreamProgress {
    /** Frames that have moved between the file and the ring. */
    long frames;
    /** Their bytes. */
    long bytes;
    /** SAVE: the timestamp of the last frame that the file has, as submit() was told; 0 without. */
    long timestampNanos;
    /** Whether the stream has ended, so that getResult() has the outcome. */
    boolean ended;
}
