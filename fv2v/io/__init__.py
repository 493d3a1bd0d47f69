# SPDX-License-Identifier: Apache-2.0
"""Pictures, video and sound in and out; paths, time stamps, prefetching. Nothing here is about faces."""
