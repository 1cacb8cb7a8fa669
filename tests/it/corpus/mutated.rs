//! Inputs made of those of the corpus, by what a fuzzer does to them. Coverage guides nothing here:
//! that takes a build of its own, which `fuzz/run.sh` makes.

use std::collections::BTreeSet;

use token_server::foundation::randomness::Randomness;

/// Longer inputs only take longer.
const LENGTH_MAX: usize = 4096;
/// Times that one input is changed.
const CHANGES_MAX: i64 = 4;

/// What is done to an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    /// Some bits of a byte are turned.
    Flip,
    /// A byte is one that means something to a reader.
    Mean,
    /// A word of the dictionary stands in it.
    Word,
    /// A number is one at the edge of what numbers can be.
    Number,
    /// It goes on as another does.
    Splice,
    Truncate,
    /// A part is left out.
    Remove,
    /// A part is there several times.
    Repeat,
}

const MUTATIONS: [Mutation; 8] = [
    Mutation::Flip,
    Mutation::Mean,
    Mutation::Word,
    Mutation::Number,
    Mutation::Splice,
    Mutation::Truncate,
    Mutation::Remove,
    Mutation::Repeat,
];

const MEANINGFUL: &[u8] = b"\0\t\n\r \"%&'()*+,-./:;<=>?[\\]_{|}~\x7f\x80\xc0\xed\xf0\xff";

const NUMBERS: [&[u8]; 28] = [
    b"0",
    b"-0",
    b"1",
    b"-1",
    b"127",
    b"128",
    b"255",
    b"256",
    b"32768",
    b"65535",
    b"65536",
    b"2147483647",
    b"2147483648",
    b"-2147483648",
    b"-2147483649",
    b"4294967295",
    b"4294967296",
    b"9007199254740992",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e308",
    b"1e309",
    b"5e-324",
];

/// The words of a dictionary of libFuzzer: one a line, in quotes, with bytes as `\xNN`.
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let quoted = dictionary.lines().filter_map(|line| {
        let line = line.trim();
        let (_, word) = line.split_once('"').filter(|_| !line.starts_with('#'))?;
        word.strip_suffix('"')
    });
    quoted.map(unescaped).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let [first, after @ ..] = rest {
        let (byte, after) = match after {
            [b'x', high, low, after @ ..] if *first == b'\\' => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("digits");
                (u8::from_str_radix(digits, 16).expect("two digits"), after)
            }
            [quoted, after @ ..] if *first == b'\\' => (*quoted, after),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// Makes inputs, the same ones of the same seed.
pub struct Mutator<'a> {
    inputs: &'a [Vec<u8>],
    words: &'a [Vec<u8>],
    random: Randomness,
}

impl<'a> Mutator<'a> {
    /// Of inputs and words; at least one of each.
    pub fn new(inputs: &'a [Vec<u8>], words: &'a [Vec<u8>], seed: u64) -> Self {
        Self {
            inputs,
            words,
            random: Randomness::seeded(seed),
        }
    }

    pub fn input(&self) -> Vec<u8> {
        self.made().0
    }

    /// An input, and what was done to make it.
    fn made(&self) -> (Vec<u8>, BTreeSet<Mutation>) {
        let mut input = self.one_of(self.inputs).clone();
        input.truncate(LENGTH_MAX);
        let mut done = BTreeSet::new();
        for _ in 0..self.random.between(1, CHANGES_MAX) {
            let mutation = *self.one_of(&MUTATIONS);
            self.mutate(mutation, &mut input);
            input.truncate(LENGTH_MAX);
            done.insert(mutation);
        }
        (input, done)
    }

    fn mutate(&self, mutation: Mutation, input: &mut Vec<u8>) {
        let (begin, end) = self.part(input.len());
        match mutation {
            Mutation::Flip => {
                if let Some(byte) = input.get_mut(begin) {
                    *byte ^= 1 << self.below(8);
                }
            }
            Mutation::Mean => {
                let byte = *self.one_of(MEANINGFUL);
                match input.get_mut(begin) {
                    Some(old) => *old = byte,
                    None => input.push(byte),
                }
            }
            Mutation::Word => {
                let word = self.one_of(self.words);
                // Beside what is there, or instead of a part.
                let end = if self.below(2) == 0 { begin } else { end };
                input.splice(begin..end, word.iter().copied());
            }
            Mutation::Number => {
                let number = self.one_of(&NUMBERS);
                let (begin, end) = self.number_in(input).unwrap_or((begin, begin));
                input.splice(begin..end, number.iter().copied());
            }
            Mutation::Splice => {
                let other = self.one_of(self.inputs);
                let (from, _) = self.part(other.len());
                input.truncate(begin);
                input.extend_from_slice(&other[from..]);
            }
            Mutation::Truncate => input.truncate(begin),
            Mutation::Remove => drop(input.drain(begin..end)),
            Mutation::Repeat => {
                let part = input[begin..end].repeat(1 + self.below(16));
                input.splice(end..end, part);
            }
        }
    }

    /// Where one of the numbers of an input begins and ends.
    fn number_in(&self, input: &[u8]) -> Option<(usize, usize)> {
        let is_digit = |at: usize| input.get(at).is_some_and(u8::is_ascii_digit);
        let begins = |at: &usize| is_digit(*at) && !(*at > 0 && is_digit(at - 1));
        let begins: Vec<_> = (0..input.len()).filter(begins).collect();
        if begins.is_empty() {
            return None;
        }
        let begin = *self.one_of(&begins);
        let length = input[begin..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        Some((begin, begin + length.count()))
    }

    /// Two places in something of that length, in their order.
    fn part(&self, length: usize) -> (usize, usize) {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        (one.min(other), one.max(other))
    }

    fn one_of<'b, T>(&self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    fn below(&self, end: usize) -> usize {
        let last = i64::try_from(end).expect("inputs are short") - 1;
        usize::try_from(self.random.between(0, last)).expect("not negative")
    }
}

#[test]
fn a_seed_makes_the_same_inputs_again_by_every_mutation_and_another_makes_others() {
    let inputs = [&b"{\"expires_in\": 7200}"[..], b"abc", b""].map(<[u8]>::to_vec);
    let words = words("# words\n\"\\\"a\\\\\\\":\"\nname=\"\\x00\\xff\"\n");
    assert_eq!(words, [&b"\"a\\\":"[..], b"\0\xff"]);
    let made = |seed| {
        let mutator = Mutator::new(&inputs, &words, seed);
        let made: Vec<_> = (0..1000).map(|_| mutator.made()).collect();
        made
    };
    let first = made(1);
    assert_eq!(made(1), first);
    assert_ne!(made(2), first);
    let done: BTreeSet<_> = first.iter().flat_map(|(_, done)| done.clone()).collect();
    assert_eq!(done, MUTATIONS.into());
    let inputs: BTreeSet<_> = first.iter().map(|(input, _)| input).collect();
    assert!(inputs.len() > 500, "they differ: {}", inputs.len());
    let greatest = b"18446744073709551616";
    let holds = |input: &&&Vec<u8>| input.windows(greatest.len()).any(|part| part == greatest);
    assert!(inputs.iter().any(|input| holds(&input)));
}
