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

import vendor.dmabufio.Direction;
import vendor.dmabufio.Durability;
import vendor.dmabufio.Mode;
import vendor.dmabufio.Priority;

/** A stream between a file and a ring of buffers, for openStream(). */
@VintfStability
parcelable StreamRequest {
    /**
     * A regular file: readable for LOAD, writable and without O_APPEND for SAVE, as for transfer().
     * The stream keeps a descriptor of the same open file until it is gone.
     */
    ParcelFileDescriptor file;
    /** LOAD: the stream reads the file ahead. SAVE: it writes frames to the file. */
    Direction direction = Direction.LOAD;
    /** Controls whether the stream bypasses the page cache. */
    Mode mode = Mode.AUTO;
    /** Who waits for it. */
    Priority priority = Priority.NORMAL;
    /** SAVE: the data that is on stable storage when the stream has finished. NONE for LOAD. */
    Durability durability = Durability.NONE;
    /** The place of the first frame in the file, in bytes. */
    long offset;
    /**
     * LOAD: the length of each frame in bytes; the last frame of the file may be shorter. SAVE: the
     * length of the longest frame. Greater than zero.
     */
    long frameBytes;
    /**
     * The number of buffers that the service allocates, 1 to IDmabufIo.MAX_RING; 0 if the caller
     * passes its own. The service rounds the size up to whole pages. It adds room for one alignment
     * of direct I/O if the frames do not all start at a multiple of that in the file: see
     * StreamFrame.bufferOffset.
     */
    int bufferCount;
    /** The purpose of the buffers, as BufferDesc.tag. Printable ASCII, may be empty. */
    @utf8InCpp String tag;
}
