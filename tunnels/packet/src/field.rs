//! Big-endian fields of headers, read and written without a way to panic.

pub(crate) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

pub(crate) fn put_u16(data: &mut [u8], at: usize, value: u16) -> Option<()> {
    *data.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

pub(crate) fn put_u32(data: &mut [u8], at: usize, value: u32) -> Option<()> {
    *data.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}
