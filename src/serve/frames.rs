//! Follows the frames of an HTTP/2 connection (RFC 9113, section 4.1), so that a head which is
//! sent bit by bit is told from frames that belong to no request.

/// What every HTTP/2 connection begins with (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where the bytes after the preface stand.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; HEADER_BYTES],
    /// So much of the header has come.
    begun: usize,
    /// So much of the frame is still to come.
    left: usize,
    /// Within a head that goes on in the next frame.
    continues: bool,
    heads: u64,
}

impl Frames {
    /// Takes what has come.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                bytes = &bytes[passed..];
                self.left -= passed;
            } else {
                let passed = (HEADER_BYTES - self.begun).min(bytes.len());
                let (header, rest) = bytes.split_at(passed);
                self.header[self.begun..self.begun + passed].copy_from_slice(header);
                bytes = rest;
                self.begun += passed;
                if self.begun < HEADER_BYTES {
                    return;
                }
                let [high, middle, low, ..] = self.header;
                self.begun = 0;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            }
            if self.left == 0 && self.is_of_head() {
                self.continues = self.header[4] & END_HEADERS == 0;
                self.heads += u64::from(!self.continues);
            }
        }
    }

    fn is_of_head(&self) -> bool {
        matches!(self.header[3], HEADERS | CONTINUATION)
    }

    /// Whether a head has begun to come, or may have: what a frame is, its header says.
    pub fn in_head(&self) -> bool {
        self.begun > 0 || self.continues || (self.left > 0 && self.is_of_head())
    }

    /// How many heads have come.
    pub fn heads(&self) -> u64 {
        self.heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + payload, 0xff);
        bytes
    }

    /// Whether a head is on its way after each byte, and how many have come.
    fn byte_by_byte(frames: &[Vec<u8>]) -> (Vec<bool>, u64) {
        let mut state = Frames::default();
        let mut within = Vec::new();
        for byte in frames.concat() {
            state.take(&[byte]);
            within.push(state.in_head());
        }
        (within, state.heads())
    }

    #[test]
    fn a_head_is_on_its_way_from_its_first_byte_to_its_last() {
        let whole = frame(HEADERS, END_HEADERS, 300);
        let (within, heads) = byte_by_byte(std::slice::from_ref(&whole));
        let (last, before) = within.split_last().unwrap();
        assert!(before.iter().all(|within| *within));
        assert!(!last);
        assert_eq!(heads, 1);
    }

    #[test]
    fn a_head_of_several_frames_is_on_its_way_between_them_too() {
        let parts = [
            frame(HEADERS, 0, 5),
            frame(CONTINUATION, 0, 0),
            frame(CONTINUATION, END_HEADERS, 3),
        ];
        let (within, heads) = byte_by_byte(&parts);
        let (last, before) = within.split_last().unwrap();
        assert!(before.iter().all(|within| *within));
        assert!(!last);
        assert_eq!(heads, 1);
    }

    #[test]
    fn a_frame_of_another_kind_is_no_head_once_its_kind_is_known() {
        for kind in [DATA, SETTINGS, PING] {
            let (within, heads) = byte_by_byte(&[frame(kind, END_HEADERS, 8)]);
            let (header, payload) = within.split_at(HEADER_BYTES - 1);
            assert!(header.iter().all(|within| *within), "{kind}");
            assert!(payload.iter().all(|within| !within), "{kind}");
            assert_eq!(heads, 0, "{kind}");
        }
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let bytes = [
            frame(SETTINGS, 0, 0),
            frame(HEADERS, END_HEADERS, 70_000),
            frame(DATA, 1, 16_384),
            frame(HEADERS, END_HEADERS, 0),
            frame(HEADERS, 0, 1),
        ]
        .concat();
        for size in [1, 2, 8, 9, 10, 4096, bytes.len()] {
            let mut state = Frames::default();
            bytes.chunks(size).for_each(|chunk| state.take(chunk));
            assert_eq!(state.heads(), 2, "{size}");
            assert!(state.in_head(), "{size}");
        }
    }
}
