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

import vendor.dmabufio.FallbackReason;
import vendor.dmabufio.Method;

/**
 * A prediction of how transfer() would move one extent. The three counts add up to the number of
 * bytes that would move.
 */
@VintfStability
@FixedSize
@RustDerive(Clone=true, Copy=true, PartialEq=true, Eq=true)
parcelable ExtentPlan {
    /** Bytes that direct I/O would move. */
    long bytesDirect;
    /** Bytes that the CPU would move at the edges of a direct body: under one page at each end. */
    long bytesBounced;
    /** Bytes that the CPU would move because the extent would not go direct. */
    long bytesBuffered;
    /** The method for the body, or for all bytes if there is no body. */
    Method method = Method.NONE;
    /** The reason why the body would not take the best method, or NONE. */
    FallbackReason reason = FallbackReason.NONE;
}
