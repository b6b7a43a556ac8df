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

import vendor.dmabufio.SubmitResult;
import vendor.dmabufio.TransferProgress;

/**
 * A batch that IDmabufIo.submit() has started. No method waits for I/O.
 *
 * The batch lives as long as somebody holds a reference to this object. When the last reference is
 * gone, for example because the client has died, the service cancels the batch and drops its
 * result.
 */
@VintfStability
interface ITransfer {
    /**
     * Returns how far the batch is.
     *
     * @return the bytes that have moved, and whether the batch has ended.
     */
    TransferProgress getProgress();

    /**
     * Asks the service to end the batch. Returns at once; the batch ends when the piece that is in
     * flight has moved (at most 32 MiB), or the buffer that is being allocated is ready. Requests
     * that had not finished by then have the error CANCELLED. Once the batch has ended, the service
     * never changes a buffer or a file of the batch again. Does nothing if the batch has ended.
     */
    void cancel();

    /**
     * Returns the outcome of the batch. The caller may ask again; each answer has descriptors of
     * its own for the same buffers.
     *
     * @return for each request of the batch, what it achieved, or an error.
     * @throws ServiceSpecificException Error.BUSY if the batch has not ended; Error.NO_MEMORY if
     *         the service cannot have more descriptors.
     */
    SubmitResult getResult();

    /**
     * Returns a descriptor that tells when the batch has ended: poll(2) on it reports POLLHUP, and
     * read(2) returns 0. The descriptor says the same if the service ends before the batch.
     *
     * @return the read end of a pipe that the service never writes to.
     * @throws ServiceSpecificException Error.NO_MEMORY if the service cannot have more descriptors.
     */
    ParcelFileDescriptor getCompletion();
}
