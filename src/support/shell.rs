//! Commands that are printed to be copied: each word as a shell reads it back, whatever a folder is called.

use std::ffi::OsStr;

/// A word as a shell reads it.
pub(crate) fn word(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    // Only a NUL cannot be quoted, and no path and no argument has one.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |quoted| quoted.into_owned())
}

/// A command of the words before it and this file or option.
pub(crate) fn line<W: AsRef<OsStr>>(command: &str, words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().fold(command.to_owned(), |line, next| line + " " + &word(next))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{line, word};

    #[test]
    fn a_shell_reads_the_same_words() {
        let words = ["/tmp/plain-1.toml", "/tmp/a b/it's", "$HOME", "~/x", "", "a;b", "x=`id`", "ü\"\\"];
        let printed = line("meridian node", words);
        let read = shlex::split(&printed).expect("one line");
        assert_eq!(read[..2], ["meridian", "node"]);
        assert_eq!(read[2..], words);
        assert_eq!(word(Path::new("/d/eu-central/node.toml")), "/d/eu-central/node.toml");
    }
}
