//! The digests that both ends compare.

/// Returns the digest of a whole transfer.
pub(crate) fn digest_of_all(entries: &blake3::Hasher, contents: &blake3::Hasher) -> [u8; 32] {
    let mut all = blake3::Hasher::new();
    all.update(entries.finalize().as_bytes());
    all.update(contents.finalize().as_bytes());
    all.finalize().into()
}

/// Adds the content of a file to the digest of all contents.
pub(crate) fn add_content(contents: &mut blake3::Hasher, index: u64, digest: &[u8; 32]) {
    contents.update(&index.to_be_bytes());
    contents.update(digest);
}

/// Adds bytes of zero to a digest.
pub(crate) fn add_zeros(digest: &mut blake3::Hasher, count: u64) {
    const ZEROS: &[u8] = &[0; 64 * 1024];
    let mut left = count;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        digest.update(ZEROS.get(..most).unwrap_or(ZEROS));
        left -= u64::try_from(most).unwrap_or(left);
    }
}
