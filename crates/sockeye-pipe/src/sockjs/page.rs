//! The two pages of SockJS.

const META: &str = "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
                    <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n";

/// Bytes before the first line break of a page that some browsers want before they show, or run, any of it.
const SHOWN_FROM: usize = 1025;

/// The beginning of a page that calls back into the one around it. It is never ended.
pub(super) fn html_file(callback: &str) -> String {
    let mut page = format!(
        "<!doctype html>\n<html><head>\n{META}</head><body><h2>Don't panic!</h2>\n  <script>\n    document.domain = document.domain;\n    \
         var c = parent.{callback};\n    c.start();\n    function p(d) {{c.message(d);}};\n    \
         window.onload = function() {{c.stop();}};\n  </script>"
    );
    let missing = SHOWN_FROM.saturating_sub(page.len());
    page.push_str(&" ".repeat(missing));
    page.push_str("\r\n\r\n");
    page
}

/// The page that other pages load into a frame. To the letter, the case of the first line too: the conformance test has it so.
pub(super) fn iframe(client_url: &str) -> String {
    let mut url = String::new();
    for character in client_url.chars() {
        match character {
            '&' => url.push_str("&amp;"),
            '"' => url.push_str("&quot;"),
            '<' => url.push_str("&lt;"),
            '>' => url.push_str("&gt;"),
            _ => url.push(character),
        }
    }
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n{META}  <script src=\"{url}\"></script>\n  <script>\n    document.domain = document.domain;\n    \
         SockJS.bootstrap_iframe();\n  </script>\n</head>\n<body>\n  <h2>Don't panic!</h2>\n  \
         <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n</body>\n</html>"
    )
}
