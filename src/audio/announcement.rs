//! What a phone can be told aloud: sentences of one table, recorded in each language.
//!
//! In: which sentence, the language of the room, a rate. Out: its samples, decoded once and kept. There is no sentence with anything in
//! it that differs from call to call: the gateway never speaks a code.

use super::ogg::Packets;
use super::opus::{self, OpusDecoder};
use super::{MS, Ticks};
use crate::units::SampleRate;
use std::sync::OnceLock;

/// A language that sentences are recorded in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 2] = [Language::English, Language::French];

    /// As the configuration and the folders of recordings have it (ISO 639-1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::French => "fr",
        }
    }
}

/// A sentence. Another one takes a variant, a line in each of the two tables below and in `announcements/sentences.tsv`, and a recording in
/// each language (`scripts/make-voices`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Announcement {
    /// The call of who hears this is not encrypted.
    NotEncrypted,
    /// A call came to the room that is not encrypted.
    ClearJoined,
    /// A call came to the room whose provider can listen.
    ProviderJoined,
    /// A call came to the room whose code nobody has compared.
    UncomparedJoined,
}

impl Announcement {
    /// All of them.
    pub const ALL: [Announcement; 4] = [
        Announcement::NotEncrypted,
        Announcement::ClearJoined,
        Announcement::ProviderJoined,
        Announcement::UncomparedJoined,
    ];

    /// Its name in the table of sentences and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Announcement::NotEncrypted => "not-encrypted",
            Announcement::ClearJoined => "clear-joined",
            Announcement::ProviderJoined => "provider-joined",
            Announcement::UncomparedJoined => "uncompared-joined",
        }
    }

    fn recording(self, language: Language) -> &'static [u8] {
        macro_rules! either {
            ($name:literal) => {
                match language {
                    Language::English => include_bytes!(concat!("announcements/en/", $name, ".opus")),
                    Language::French => include_bytes!(concat!("announcements/fr/", $name, ".opus")),
                }
            };
        }
        match self {
            Announcement::NotEncrypted => either!("not-encrypted"),
            Announcement::ClearJoined => either!("clear-joined"),
            Announcement::ProviderJoined => either!("provider-joined"),
            Announcement::UncomparedJoined => either!("uncompared-joined"),
        }
    }

    /// What is heard, in whole frames.
    pub fn samples(self, language: Language, rate: SampleRate) -> &'static [i16] {
        static DECODED: [OnceLock<Vec<i16>>; Announcement::ALL.len() * Language::ALL.len() * 2] =
            [const { OnceLock::new() }; _];
        let place = (self as usize * Language::ALL.len() + language as usize) * 2 + rate as usize;
        DECODED[place].get_or_init(|| {
            decode(self.recording(language), rate).unwrap_or_else(|| {
                tracing::error!(announcement = self.as_str(), "a recording cannot be decoded; it is not spoken");
                Vec::new()
            })
        })
    }
}

fn decode(file: &[u8], rate: SampleRate) -> Option<Vec<i16>> {
    let packets = Packets::read(file)?;
    let mut decoder = OpusDecoder::new(rate).ok()?;
    let mut samples = Vec::new();
    for packet in packets.sound {
        let length = opus::duration(&packet)? * Ticks::from(rate.hz()) / (1_000 * MS);
        let start = samples.len();
        samples.resize(start + usize::try_from(length).ok()?, 0);
        if !decoder.decode(&packet, &mut samples[start..]) {
            return None;
        }
    }
    let skip = packets.skip * rate.hz() as usize / SampleRate::Hz48000.hz() as usize;
    samples.drain(..skip.min(samples.len()));
    samples.resize(samples.len().next_multiple_of(rate.frame()), 0);
    Some(samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::super::level_dbfs;
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audio/announcements");
    const LARGEST_FILE: usize = 12_000;

    #[test]
    fn each_sentence_has_its_text_and_a_small_recording_in_each_language_and_there_are_no_others() {
        let table = fs::read_to_string(Path::new(FOLDER).join("sentences.tsv")).unwrap();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == 1 + Language::ALL.len()), "{table}");
        assert!(rows.iter().flatten().all(|cell| !cell.trim().is_empty()), "{table}");
        assert!(!table.contains(['{', '%', '#']), "a sentence has no place for anything that differs: {table}");
        let names: BTreeSet<String> = Announcement::ALL.map(|sentence| sentence.as_str().to_owned()).into();
        assert_eq!(rows.iter().map(|row| row[0].to_owned()).collect::<BTreeSet<_>>(), names);
        for language in Language::ALL {
            let folder = Path::new(FOLDER).join(language.as_str());
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let files: BTreeSet<String> =
                files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            assert_eq!(files, names, "{}", folder.display());
            for sentence in Announcement::ALL {
                let file = fs::read(folder.join(sentence.as_str()).with_extension("opus")).unwrap();
                assert!(file.len() <= LARGEST_FILE, "{sentence:?}: {} octets", file.len());
                assert_eq!(sentence.recording(language), file, "{sentence:?} is another file in {language:?}");
            }
        }
    }

    #[test]
    fn each_recording_is_a_sentence_that_is_loud_enough_and_whole_at_both_rates() {
        let mut all = BTreeSet::new();
        for sentence in Announcement::ALL {
            for language in Language::ALL {
                let [narrow, wide] =
                    [SampleRate::Hz8000, SampleRate::Hz48000].map(|rate| (rate, sentence.samples(language, rate)));
                for (rate, samples) in [narrow, wide] {
                    let seconds = samples.len() as f32 / rate.hz() as f32;
                    assert!((2.0..6.0).contains(&seconds), "{sentence:?} {language:?}: {seconds} s");
                    let level = level_dbfs(samples);
                    assert!((-21.0..-12.0).contains(&level), "{sentence:?} {language:?} {rate:?}: {level} dBov");
                    assert_eq!(samples.len() % rate.frame(), 0);
                }
                assert!(all.insert(wide.1), "{sentence:?} {language:?} sounds like another");
            }
        }
    }
}
