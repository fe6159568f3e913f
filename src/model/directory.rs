//! How a directory is written, so that two spellings of one path are one.

/// An absolute path without doubled slashes, without `.` and without a slash at its end. It means the same place: `..` and links, which
/// only the file system knows, stay as they are.
pub fn spelled(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one() {
        for path in ["/x/w1", "/x/w1/", "/x/./w1", "//x//w1//", "/x/w1/."] {
            assert_eq!(spelled(path), "/x/w1");
        }
        assert_eq!(["", "x/", "./x"].map(spelled), ["", "x/", "./x"], "no absolute ones");
        assert_eq!(["/", "//", "/."].map(spelled), ["/", "/", "/"]);
        assert_eq!(["/x/../w", "/x/ /...", "/x/w/.."].map(spelled), ["/x/../w", "/x/ /...", "/x/w/.."]);
    }
}
