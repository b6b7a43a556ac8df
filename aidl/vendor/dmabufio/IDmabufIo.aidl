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
import vendor.dmabufio.IBufferStream;
import vendor.dmabufio.ITransfer;
import vendor.dmabufio.LoadRequest;
import vendor.dmabufio.LoadResult;
import vendor.dmabufio.Plan;
import vendor.dmabufio.Receipt;
import vendor.dmabufio.StreamRequest;
import vendor.dmabufio.SubmitRequest;
import vendor.dmabufio.TransferRequest;

/**
 * Moves file data into and out of dma-bufs with no CPU copy and no page cache.
 *
 * probe() predicts the path of a transfer. transfer() moves the data, and its receipt reports the
 * path of every byte and the reason. All sizes and offsets are in bytes. The caller keeps the
 * descriptors that it passes; the service never changes their position or flags.
 *
 * The service reports a mistake of the caller as an AIDL exception (EX_ILLEGAL_ARGUMENT,
 * EX_NULL_POINTER, EX_SECURITY, EX_UNSUPPORTED_OPERATION), and every other failure as a
 * service-specific error with a code of Error. The message names the operand.
 */
@VintfStability
interface IDmabufIo {
    /** The largest number of extents in one request. It keeps the parcel of a request small. */
    const int MAX_EXTENTS = 2048;

    /**
     * The largest number of buffers in one load, and of buffers and transfers in one batch of
     * submit(). It bounds the descriptors in one request and in one reply.
     */
    const int MAX_BATCH = 32;

    /** The largest number of buffers in the ring of a stream. */
    const int MAX_RING = 32;

    /**
     * Returns the abilities of this service on this device. Never waits for I/O.
     *
     * @return the heap, the methods and the limits.
     */
    Capabilities getCapabilities();

    /**
     * Allocates a zeroed buffer. Blocks until the memory is zeroed, unless the service has a buffer
     * of this size ready.
     *
     * @param desc the size and the name.
     * @return the buffer. The caller owns it.
     * @throws EX_ILLEGAL_ARGUMENT if the size is not positive or exceeds
     *         Capabilities.maxBufferBytes, or if the tag is not printable ASCII.
     * @throws ServiceSpecificException Error.NO_MEMORY if there is not enough memory;
     *         Error.QUOTA_EXCEEDED if the caller's user has as many buffers or requests as it may
     *         have; Error.BUSY or Error.TIMED_OUT, as for transfer().
     */
    Buffer allocate(in BufferDesc desc);

    /**
     * Predicts how transfer() with Mode.AUTO would move data between the file and a buffer of
     * allocate(), unless a device is in the way. The access mode of the file decides the direction
     * (LOAD if the mode allows both). The prediction is valid until the file, the buffer or the
     * page cache changes. Does no I/O.
     *
     * @param file a regular file, as for transfer().
     * @param extents as for transfer(). Of bufferOffset, only the alignment matters.
     * @return one prediction for each extent.
     * @throws EX_ILLEGAL_ARGUMENT if the file is not a regular file that can be read or written,
     *         or if an extent is malformed. The message names the extent.
     * @throws ServiceSpecificException Error.BUSY, Error.QUOTA_EXCEEDED or Error.TIMED_OUT, as
     *         for transfer().
     */
    Plan probe(in ParcelFileDescriptor file, in Extent[] extents);

    /**
     * Moves data between a file and a buffer, and returns after the last byte has moved. The
     * service makes all possible checks before the first byte moves.
     *
     * If a transfer fails after it has started, the content of the destination within the extents
     * is undefined. The service never changes bytes outside the extents.
     *
     * @param request the buffer, the file, the extents and the options.
     * @return the number of bytes that moved on each path, and the reason for a fallback.
     * @throws EX_ILLEGAL_ARGUMENT if an extent is malformed, out of range or overlaps another, if
     *         the buffer is not a dma-buf or lacks the access that the direction needs, if the file
     *         is not regular or lacks the access that the direction needs, if an enum has an
     *         unknown value, if a LOAD asks for durability, or if the tag is too long or is not
     *         printable ASCII. The message names the operand.
     * @throws EX_NULL_POINTER if a descriptor is missing.
     * @throws EX_SECURITY if the kernel refuses access to the file or the buffer.
     * @throws EX_UNSUPPORTED_OPERATION if no method works on this buffer.
     * @throws ServiceSpecificException Error.NOT_DIRECT, Error.BUSY, Error.NO_MEMORY,
     *         Error.NO_SPACE, Error.IO, Error.TIMED_OUT, or Error.QUOTA_EXCEEDED while the
     *         caller's user has as many requests as it may have. Two cases concern files that a
     *         user-space daemon serves: the error is BUSY while two requests of the same user, or
     *         too many requests of all users, use such files, and TIMED_OUT if the daemon does not
     *         answer.
     */
    Receipt transfer(in TransferRequest request);

    /**
     * Allocates buffers and fills them from a file, and returns after the last one is filled. The
     * service allocates the next buffer while it fills the one before. It refuses a malformed
     * request before it allocates the first buffer. After that, each item succeeds or fails by
     * itself. If the daemon that serves the file stops answering, the service returns the filled
     * items, and the other items are TIMED_OUT.
     *
     * @param request the file and the buffers.
     * @return for each item, a buffer and a receipt, or an error.
     * @throws EX_ILLEGAL_ARGUMENT as for allocate() and transfer(). The message names the item.
     * @throws EX_NULL_POINTER if the descriptor is missing.
     * @throws ServiceSpecificException Error.BUSY, Error.QUOTA_EXCEEDED or Error.TIMED_OUT, as for
     *         allocate() and transfer(), if the service could not start the load; Error.NO_MEMORY
     *         if there is not enough memory or it cannot create a thread.
     */
    LoadResult load(in LoadRequest request);

    /**
     * Starts a batch of loads and transfers, and returns at once. The service works on the requests
     * of a batch one after the other; batches and blocking calls of all clients share the disk by
     * their Priority and their user, piece by piece. Each request succeeds or fails by itself: a
     * malformed request or a wrong descriptor fails as load() and transfer() would, without an
     * effect on the others.
     *
     * @param request the loads and the transfers.
     * @return the batch. Keep the reference: dropping it cancels the batch.
     * @throws EX_ILLEGAL_ARGUMENT if the batch is empty or too large.
     * @throws ServiceSpecificException Error.QUOTA_EXCEEDED if the caller's user has as many
     *         batches as it may have; Error.BUSY if all users together have too many, or if another
     *         limit of transfer() is reached; Error.NO_MEMORY if the service cannot create a thread
     *         or a pipe, or cannot have more descriptors.
     */
    ITransfer submit(in SubmitRequest request);

    /**
     * Starts a stream between a file and a ring of buffers. Blocks until the service has allocated
     * the buffers, as allocate() does. The stream shares the disk with all other requests, as a
     * batch does.
     *
     * @param request the file, the frames and the options.
     * @param buffers the ring, if it is the caller's own (of a camera or of gralloc): at most
     *        MAX_RING dma-bufs of any exporter, each at least StreamRequest.frameBytes long. Empty
     *        if the service allocates them.
     * @return the stream. Keep the reference: dropping it ends the stream.
     * @throws EX_ILLEGAL_ARGUMENT as for allocate() and transfer(), or if there is neither a buffer
     *         nor a StreamRequest.bufferCount, or both. The message names the operand.
     * @throws EX_NULL_POINTER if the file is missing.
     * @throws ServiceSpecificException Error.QUOTA_EXCEEDED if the caller's user has as many
     *         streams as it may have, or as for allocate(); Error.BUSY if all users together have
     *         too many, or as for transfer(); Error.NO_MEMORY as for allocate(), or if the service
     *         cannot create a thread or a pipe, or cannot have more descriptors; Error.TIMED_OUT as
     *         for transfer().
     */
    IBufferStream openStream(in StreamRequest request, in ParcelFileDescriptor[] buffers);
}
