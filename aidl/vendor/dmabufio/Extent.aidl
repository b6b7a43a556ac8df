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
 * One contiguous range of a transfer: its position in the file and its position in the buffer.
 *
 * All three fields are in bytes. Any alignment is legal: direct I/O moves the page-aligned body of
 * an extent where the file and the buffer allow it, and the CPU moves the edges, less than one page
 * each.
 * A body can go direct only if fileOffset and bufferOffset are equal modulo the page size.
 */
@VintfStability
@FixedSize
@RustDerive(Clone=true, Copy=true, PartialEq=true, Eq=true)
parcelable Extent {
    /** Offset in the file, in bytes. Not negative. */
    long fileOffset;
    /** Offset in the buffer, in bytes. Not negative. */
    long bufferOffset;
    /**
     * Length in bytes. Not negative. An extent of length 0 is legal and moves nothing: a tensor may
     * have no bytes. bufferOffset + length is at most the size of the buffer.
     */
    long length;
}
