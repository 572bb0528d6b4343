//! Packets as bytes in an arena: slots with headroom, IP, TCP and UDP headers, checksums, ECN,
//! segmentation and coalescing. No I/O, no allocation on the way of a packet.
