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
import vendor.dmabufio.BufferDesc;
import vendor.dmabufio.Capabilities;
import vendor.dmabufio.Extent;
import vendor.dmabufio.LoadRequest;
import vendor.dmabufio.LoadResult;
import vendor.dmabufio.Plan;
import vendor.dmabufio.Receipt;
import vendor.dmabufio.TransferRequest;

/**
 * Moves file data into and out of dma-bufs with no CPU copy and no page cache.
 *
 * probe() predicts which path a transfer will take, transfer() does it, and its receipt says which
 * path every byte took and why. All sizes and offsets are bytes. Descriptors that a caller passes
 * stay the caller's, and their position and flags are never changed.
 *
 * Mistakes of the caller are AIDL exceptions (EX_ILLEGAL_ARGUMENT, EX_NULL_POINTER, EX_SECURITY,
 * EX_UNSUPPORTED_OPERATION); everything else is a service-specific error with a code of Error. The
 * message names the operand.
 */
@VintfStability
interface IDmabufIo {
    /** The largest number of extents in one request. Keeps a request in a small parcel. */
    const int MAX_EXTENTS = 2048;

    /** The largest number of buffers in one load. Bounds the descriptors in one reply. */
    const int MAX_BATCH = 32;

    /**
     * Says what this service can do here. Never waits for I/O.
     *
     * @return the heap, the methods and the limits.
     */
    Capabilities getCapabilities();

    /**
     * Allocates a zeroed buffer. Blocks for as long as zeroing the memory takes, unless the service
     * has one of this size ready.
     *
     * @param desc size and name.
     * @return the buffer, which belongs to the caller.
     * @throws EX_ILLEGAL_ARGUMENT if the size is not positive or exceeds
     *         Capabilities.maxBufferBytes, or the tag is not printable ASCII.
     * @throws ServiceSpecificException Error.NO_MEMORY if there is not enough memory, or this user
     *         holds too much of it; Error.BUSY if too many requests run.
     */
    Buffer allocate(in BufferDesc desc);

    /**
     * Predicts what transfer() with Mode.AUTO would do with a buffer of allocate() that no device
     * is attached to, in the direction that the access mode of the file allows (LOAD if it allows
     * both). It holds for as long as file, buffer and page cache stay as they are. Does no I/O.
     *
     * @param file a regular file, as for transfer().
     * @param extents as for transfer(); bufferOffset is used for its alignment only.
     * @return one prediction for each extent.
     * @throws EX_ILLEGAL_ARGUMENT if the file is not a regular file that can be read or written,
     *         or an extent is malformed; the message names the extent.
     * @throws ServiceSpecificException Error.BUSY or Error.TIMED_OUT, as for transfer().
     */
    Plan probe(in ParcelFileDescriptor file, in Extent[] extents);

    /**
     * Moves data between a file and a buffer, and returns when it has moved. Everything that can
     * be checked is checked before the first byte moves.
     *
     * If it fails after it started, the content of the destination within the extents is
     * undefined; bytes outside the extents are never changed.
     *
     * @param request what to move.
     * @return which bytes moved, by which path, and why.
     * @throws EX_ILLEGAL_ARGUMENT if an extent is malformed, out of range or overlaps another, if
     *         the buffer is not a dma-buf or lacks the access that the direction needs, if the file
     *         is not regular or lacks the access that the direction needs, if an enum has an unknown
     *         value, if a LOAD asks for durability, or if the tag is not printable ASCII or too
     *         long. The message names the operand.
     * @throws EX_NULL_POINTER if a descriptor is missing.
     * @throws EX_SECURITY if the kernel refuses access to the file or the buffer.
     * @throws EX_UNSUPPORTED_OPERATION if the digest is not in Capabilities.digests, or no method
     *         works on this buffer.
     * @throws ServiceSpecificException Error.NOT_DIRECT, Error.BUSY, Error.NO_MEMORY,
     *         Error.NO_SPACE, Error.IO or Error.TIMED_OUT. A request is BUSY while too many
     *         requests of the same user or of all users run. Narrower limits hold for files that a
     *         user-space daemon serves, and for users whose requests have timed out and are stuck.
     */
    Receipt transfer(in TransferRequest request);

    /**
     * Allocates buffers and fills them from a file, and returns when all are filled. The next
     * buffer is allocated while the one before is filled. What is malformed is refused before
     * anything is allocated; after that, each item succeeds or fails by itself. When the file's
     * daemon stops answering, the items that are filled are returned, and the rest is TIMED_OUT.
     *
     * @param request the file and the buffers.
     * @return a buffer and a receipt, or an error, for each item.
     * @throws EX_ILLEGAL_ARGUMENT as for allocate() and transfer(); the message names the item.
     * @throws EX_NULL_POINTER if the descriptor is missing.
     * @throws ServiceSpecificException Error.BUSY or Error.TIMED_OUT, as for transfer(), if
     *         nothing could be begun; Error.NO_MEMORY if the service is short of threads.
     */
    LoadResult load(in LoadRequest request);
}
