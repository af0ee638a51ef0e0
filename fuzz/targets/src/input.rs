//! A target's input, read as choices.

/// The input as a list of choices. After its end every choice is zero.
pub(crate) struct Choices<'a> {
    left: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(left: &'a [u8]) -> Self {
        Self { left }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number from 0 to `count - 1`.
    pub(crate) fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// The next bytes: so many, or all that are left.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.left.split_at(count.min(self.left.len()));
        self.left = left;
        taken
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.left
    }
}

/// Where an input is cut into pieces.
pub(crate) struct Cuts<'a> {
    lengths: &'a [u8],
}

impl<'a> Cuts<'a> {
    pub(crate) fn read(choices: &mut Choices<'a>) -> Self {
        let count = choices.below(16);
        Self { lengths: choices.take(count.into()) }
    }

    /// The pieces, whose lengths recur; single bytes if there are no lengths. A piece may be empty.
    pub(crate) fn pieces<'b>(&self, mut input: &'b [u8]) -> Vec<&'b [u8]> {
        if self.lengths.is_empty() {
            return input.chunks(1).collect();
        }
        let mut pieces = Vec::new();
        while !input.is_empty() {
            let before = input.len();
            for &length in self.lengths {
                let (piece, rest) = input.split_at(scaled(length).min(input.len()));
                pieces.push(piece);
                input = rest;
            }
            if input.len() == before {
                pieces.push(std::mem::take(&mut input));
            }
        }
        pieces
    }
}

/// 0 to 199 as they are; above that, up to 56 KiB.
pub(crate) fn scaled(byte: u8) -> usize {
    match usize::from(byte) {
        short @ 0..200 => short,
        long => (long - 199) * 1024,
    }
}
