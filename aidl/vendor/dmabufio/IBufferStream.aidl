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
import vendor.dmabufio.Receipt;
import vendor.dmabufio.StreamFrame;
import vendor.dmabufio.StreamProgress;

/**
 * A stream that IDmabufIo.openStream() has started: a file and a ring of buffers. No method waits
 * for I/O.
 *
 * A stream that reads (LOAD) fills the free buffers of the ring with the next frames of the file.
 * next() hands a frame to the client, and release() gives its buffer back. While the client holds
 * all buffers, or has not asked for the frames that are ready, the service reads nothing.
 *
 * A stream that writes (SAVE) hands free buffers to the client in acquire(). submit() passes a
 * frame to the service, which writes the frames one behind the other, in the order of submission.
 * If no buffer is free when a frame is due, the disk is too slow, and the client drops the frame.
 *
 * The first error of the file ends a stream. Then next(), after the frames that are ready,
 * acquire(), submit(), seek() and getResult() throw it, as transfer() would. The message names the
 * frame and its place in the file.
 *
 * The stream lives as long as somebody holds a reference to this object. When the last reference is
 * gone, for example because the client has died, the service ends the stream after the pieces that
 * are in flight (at most 32 MiB each), and drops its buffers.
 */
@VintfStability
interface IBufferStream {
    /**
     * Returns the buffers that the service has allocated for the ring, in the order of their
     * indices; none if the client has passed its own.
     *
     * @return the buffers, with descriptors that the caller owns.
     * @throws ServiceSpecificException Error.NO_MEMORY if the service cannot have more descriptors.
     */
    Buffer[] getBuffers();

    /**
     * Returns a descriptor to wait on, with poll(2) or epoll(7). After next() or acquire() was
     * BUSY, it becomes readable (POLLIN) as soon as the same call may succeed. Read it empty, call
     * again until the call is BUSY, and then wait again. Before the first call it becomes readable,
     * too. Once the stream has ended, it reports POLLHUP.
     *
     * @return the read end of a pipe, with O_NONBLOCK. The bytes in it mean nothing.
     * @throws ServiceSpecificException Error.NO_MEMORY if the service cannot have more descriptors.
     */
    ParcelFileDescriptor getReadiness();

    /**
     * LOAD: hands out the next frame. The client holds its buffer until release().
     *
     * @return the frame. At the end of the file its index is -1; only seek() leads on from there.
     * @throws EX_ILLEGAL_ARGUMENT if the stream writes.
     * @throws ServiceSpecificException Error.BUSY if no frame is ready yet.
     */
    StreamFrame next();

    /**
     * SAVE: hands out a free buffer. The client holds it until submit() or release().
     *
     * @return the index of the buffer.
     * @throws EX_ILLEGAL_ARGUMENT if the stream reads, or after finish().
     * @throws ServiceSpecificException Error.BUSY if no buffer is free.
     */
    int acquire();

    /**
     * SAVE: passes a frame to the service, which writes it behind the frame that was submitted
     * before. The client must not change the buffer until acquire() returns it again.
     *
     * @param index a buffer of acquire().
     * @param bufferOffset the place of the frame in the buffer, in bytes. The frame can go direct
     *        if this equals its place in the file modulo the alignment of direct I/O: see
     *        StreamFrame.bufferOffset.
     * @param length the length in bytes, 1 to StreamRequest.frameBytes.
     * @param timestampNanos any number; getProgress() returns that of the last frame in the file.
     * @throws EX_ILLEGAL_ARGUMENT if the stream reads, after finish(), if the client does not hold
     *         this buffer, if the frame does not lie in it or is too long, or if the file would
     *         exceed 63 bits.
     */
    void submit(in int index, in long bufferOffset, in long length, in long timestampNanos);

    /**
     * Gives back a buffer that the client holds: after LOAD for the next frame, after SAVE unused.
     *
     * @param index the buffer.
     * @throws EX_ILLEGAL_ARGUMENT if the client does not hold this buffer.
     */
    void release(in int index);

    /**
     * LOAD: drops the frames that are ready, and reads on from another place. The client keeps the
     * buffers that it holds. A place behind the end of the file is the end of the file.
     *
     * @param offset the place of the next frame in the file, in bytes.
     * @throws EX_ILLEGAL_ARGUMENT if the stream writes, or if the offset is negative.
     */
    void seek(in long offset);

    /**
     * Ends the stream. SAVE: after all frames that were submitted are in the file, and on stable
     * storage as StreamRequest.durability says. LOAD: at once, without the frames that are ready.
     * Returns without waiting for the end, which the readiness reports. Does nothing if the stream
     * has ended.
     */
    void finish();

    /**
     * Returns how far the stream is.
     *
     * @return the frames and bytes that have moved, and whether the stream has ended.
     */
    StreamProgress getProgress();

    /**
     * Returns the outcome of a stream that has ended.
     *
     * @return the receipts of all frames, added; so are the times of frames that moved together.
     * @throws ServiceSpecificException Error.BUSY if the stream has not ended; else the error that
     *         ended it.
     */
    Receipt getResult();
}
