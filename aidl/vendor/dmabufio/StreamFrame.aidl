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

/** A frame of a stream that reads: a part of the file, in a buffer of the ring. */
@VintfStability
@RustDerive(Clone=true, PartialEq=true, Eq=true)
parcelable StreamFrame {
    /** The buffer, as an index into the ring; -1 at the end of the file. */
    int index = -1;
    /**
     * The number of the frame: how many frames the stream has handed out before. seek() does not
     * reset it.
     */
    long number;
    /** The place of the frame in the file, in bytes. */
    long fileOffset;
    /**
     * The place of the frame in the buffer, in bytes. If the buffer has the room, the frame lies as
     * far behind a multiple of the alignment of direct I/O as it does in the file, so that it can
     * go direct. Otherwise it is 0. That alignment is the page size, or what the file needs if that
     * is more.
     */
    long bufferOffset;
    /** The length in bytes: StreamRequest.frameBytes, or less at the end of the file. */
    long length;
    /** When the frame and all before it were complete: nanoseconds of CLOCK_MONOTONIC. */
    long readyNanos;
}
