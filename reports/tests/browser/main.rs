//! The page of a report in a real browser: what it does on a click, on a key, with an address, on a phone, and with ten
//! thousand trials. Without Chromium on this machine these tests say so and pass.
#![cfg(unix)]

mod chromium;
mod runs;

use chromium::Browser;
use record::Status;
use runs::{Size, noise_bits, page, run};
use serde_json::json;
use std::path::PathBuf;

/// Two datasets, three methods at four rates, three seeds.
const SMALL: Size = Size { datasets: 2, methods: 3, rates: 4, seeds: 3 };

/// A page in a file of its own.
fn saved(html: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("index.html");
    std::fs::write(&file, html).expect("writes");
    (folder, file)
}

/// Methods in the rows of the first table that are shown.
const SHOWN: &str =
    "[...document.querySelectorAll('#d0 tbody tr')].map(row => row.cells[0].innerText.replace('●', '').trim()).join()";
/// The state in the address.
const STATE: &str = "decodeURIComponent(location.hash)";
/// The title of the open dialog; empty if none is open.
const TITLE: &str = "document.querySelector('dialog[open] h2')?.textContent ?? ''";
/// What is said at the pointer.
const TIP: &str = "document.querySelector('#tip.shown')?.textContent ?? ''";

#[test]
fn a_reader_filters_sorts_and_chooses_columns() {
    let Some(mut browser) = Browser::start() else { return };
    let html = page(&run(&SMALL, 60));
    let (_folder, file) = saved(&html);
    browser.screen(1300, 900, false, false);
    browser.open(&file, "");
    let all = browser.text(SHOWN);
    assert_eq!(all.split(',').count(), 12, "{all}");
    // The script shows the cells that stand in the page.
    let cells = "root => [...root.querySelectorAll('#d0 tbody tr')].map(row => [...row.cells].map(cell => cell.textContent.trim()).join('|')).join('\\n')";
    let given = json!(html).to_string();
    assert_eq!(
        browser.text(&format!("({cells})(document)")),
        browser.text(&format!("({cells})(new DOMParser().parseFromString({given}, 'text/html'))"))
    );

    // By words, by method, by rate.
    browser.click("document.querySelector('#filters input[type=search]')");
    browser.type_text("beta -48");
    assert_eq!(browser.text(SHOWN), "beta 16,beta 32,beta 64");
    assert_eq!(browser.text("document.querySelector('#filters output').value"), "6 of 24 methods");
    assert!(browser.text(STATE).contains("words=beta+-48"), "{}", browser.text(STATE));
    browser.click("[...document.querySelectorAll('#filters button')].find(one => one.textContent === 'Reset')");
    assert_eq!(browser.text(SHOWN), all);
    browser.click("document.querySelector('#filters details:nth-of-type(3) summary')");
    browser.click("document.querySelector('#filters input[value=gamma]')");
    browser.click("document.querySelector('#filters input[aria-label^=Most]')");
    browser.type_text("32");
    assert_eq!(browser.text(SHOWN), "gamma 16,gamma 32");
    browser.click("[...document.querySelectorAll('#filters button')].find(one => one.textContent === 'Reset')");
    // By family, with keys alone. Methods whose records do not say it are a family of their own.
    let family = "document.querySelector('#filters details:nth-of-type(2) summary')";
    assert_eq!(browser.text(&format!("{family}.textContent")), "Family: all");
    browser.value(&format!("{family}.focus()"));
    browser.key("Enter", 0);
    let families =
        "[...document.querySelectorAll('#filters details[open] label')].map(label => label.innerText.trim()).join()";
    assert_eq!(browser.text(families), "additive,other,product");
    assert_eq!(browser.text("document.querySelector('#filters details[open] legend').textContent"), "Family");
    browser.key("Tab", 0);
    browser.key(" ", 0);
    assert_eq!(browser.text(SHOWN), "beta 16,beta 32,beta 48,beta 64");
    browser.key("Tab", 0);
    browser.key(" ", 0);
    assert_eq!(browser.text(&format!("{family}.textContent")), "Family: additive, other");
    assert_eq!(browser.text("document.querySelector('#filters output').value"), "16 of 24 methods");
    assert!(browser.text(STATE).contains("family=additive&family=other"), "{}", browser.text(STATE));
    let state = browser.text("location.hash");
    let filtered = browser.text(SHOWN);
    assert!(filtered.contains("beta 16") && filtered.contains("gamma 16") && !filtered.contains("alpha"), "{filtered}");
    assert_eq!(browser.text("document.querySelector('#failures tbody').innerText.includes('alpha')"), "false");
    browser.open(&file, &state);
    assert_eq!(browser.text(SHOWN), filtered, "the address restores the families");
    browser.click("[...document.querySelectorAll('#filters button')].find(one => one.textContent === 'Reset')");
    assert_eq!(browser.text(SHOWN), all);
    // By dataset: its section is hidden.
    browser.click("document.querySelector('#filters details:nth-of-type(1) summary')");
    browser.click("document.querySelector('#filters input[value=set-1]')");
    assert_eq!(browser.text("[d0.hidden, d1.hidden].join()"), "true,false");
    browser.click("[...document.querySelectorAll('#filters button')].find(one => one.textContent === 'Reset')");

    // Order: first the better values, by a key too.
    let head = "[...document.querySelectorAll('#d0 thead button')].find(one => one.textContent === 'SQNR dB')";
    browser.click(head);
    assert!(browser.text(SHOWN).starts_with("alpha 64,beta 64,gamma 64"), "{}", browser.text(SHOWN));
    browser.key("Enter", 0);
    assert_eq!(browser.text(&format!("{head}.closest('th').getAttribute('aria-sort')")), "ascending");
    assert!(browser.text(SHOWN).starts_with("gamma 16,beta 16,alpha 16"), "{}", browser.text(SHOWN));
    assert!(browser.text(STATE).contains("sort0=sqnr_db:ascending"), "{}", browser.text(STATE));

    // Columns, of which one says the bytes.
    let visible = "[...document.querySelectorAll('#d0 thead th')].filter(head => !head.hidden).map(head => head.innerText.trim()).join()";
    assert!(browser.text(visible).contains("bytes/vector"), "{}", browser.text(visible));
    browser.click("document.querySelector('#filters details:last-of-type summary')");
    for key in ["code_bytes", "sqnr_db"] {
        browser.click(&format!("document.querySelector('#filters input[value={key}]')"));
    }
    assert!(!browser.text(visible).contains("bytes/vector") && browser.text(visible).contains("NMSE"));
    assert_eq!(
        browser.text("document.querySelectorAll('#d0 tbody tr:first-child > *').length"),
        browser.text(&format!("{visible}.split(',').length"))
    );
    browser.key("Escape", 0);
    assert_eq!(browser.text("document.querySelectorAll('#filters details[open]').length"), "0");

    // The panel answers for the limit that is chosen.
    let answer = "document.querySelector('#d0 .advice .answer').textContent";
    let first = browser.text(answer);
    let choose = "(() => { const one = document.querySelector('#d0 .advice select'); \
                  one.selectedIndex = (one.selectedIndex + 1) % one.options.length; one.dispatchEvent(new Event('change')); })()";
    browser.text(choose);
    let answered = browser.text(answer);
    assert!(answered != first && browser.text(STATE).contains("advice0="), "{answered}; {}", browser.text(STATE));

    // The address restores all of it.
    let (state, seen) = (browser.text("location.hash"), browser.text("document.querySelector('#d0 table').innerText"));
    browser.open(&file, &state);
    assert_eq!(browser.text("document.querySelector('#d0 table').innerText"), seen);
    assert_eq!(browser.text(answer), answered);
    assert_eq!(browser.errors, Vec::<String>::new());
}

#[test]
fn a_row_and_a_point_open_their_trial() {
    let Some(mut browser) = Browser::start() else { return };
    let run = run(&SMALL, 60);
    let (_folder, file) = saved(&page(&run));
    browser.screen(1300, 900, false, false);
    browser.open(&file, "");
    let of = |label: &str| {
        run.info.trials.iter().find(|trial| trial.label == label && trial.seed == 1).expect("planned").id.clone()
    };

    // A click on a cell; what the dialog holds.
    browser.click("document.querySelector('#d0 tbody tr:nth-child(2) td:nth-child(4)')");
    browser.wait("document.querySelector('dialog[open] pre')");
    assert_eq!(browser.text(TITLE), "alpha 32");
    let text = browser.text("document.querySelector('dialog').innerText");
    for expected in [
        &of("alpha 32"),
        "revision 0123abcd",
        "nested: { rounds: 3 }",
        "cargo xtask experiments trial.yaml",
        "recall_k_at_k",
        "k = 10, rerank4",
        "sub 1",
        "training mse",
        "run\nmade-up",
        "family\nproduct",
        "Log",
        "32 bits, 4 bytes per vector",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(browser.text(STATE).ends_with(&format!("trial={}", of("alpha 32"))), "{}", browser.text(STATE));
    let state = browser.text("location.hash");
    browser.key("Escape", 0);
    browser.wait("location.hash === ''");
    assert_eq!(browser.text(TITLE), "");

    // The log: the seconds of each phase for each seed, as in the record.
    let log = "[...document.querySelectorAll('dialog table.log tr')].map(row => [...row.cells].map(cell => cell.innerText).join('|'))";
    browser.open(&file, &state);
    browser.wait("document.querySelector('dialog[open] table.log')");
    let lines = browser.text(&format!("{log}.join('\\n')"));
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], "phase|seconds, seed 1|seconds, seed 2|seconds, seed 3");
    let names: Vec<&str> = lines[1..].iter().filter_map(|line| line.split('|').next()).collect();
    let first = run.records.iter().find(|record| record.trial.id == of("alpha 32")).expect("a record");
    let phases = &first.log.as_ref().expect("a log").phases;
    let expected: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).chain(["whole process"]).collect();
    assert_eq!(names, expected);
    let shown: f64 = lines[2].split('|').nth(1).and_then(|cell| cell.parse().ok()).expect("seconds");
    assert!((shown - phases[1].seconds).abs() <= 5e-3 * phases[1].seconds, "{shown} {phases:?}");
    assert!(lines.last().is_some_and(|line| *line == "whole process|1.5|1.5|1.5"), "{lines:?}");
    assert_eq!(browser.text("document.querySelectorAll('dialog pre[aria-label^=\"Standard error\"]').length"), "0");
    browser.key("Escape", 0);
    browser.wait("location.hash === ''");

    // By key, and back.
    browser.value("document.querySelectorAll('#d0 button.open')[4].focus()");
    browser.key("Enter", 0);
    browser.wait("document.querySelector('dialog[open] pre')");
    assert_eq!(browser.text(TITLE), "beta 16");
    assert_eq!(browser.text("document.querySelector('dialog').contains(document.activeElement)"), "true");
    let said = "[...document.querySelectorAll('dialog pre[aria-label^=\"Standard error\"]')].map(one => one.ariaLabel + ': ' + one.textContent).join()";
    assert_eq!(
        browser.text(said),
        "Standard error, seed 1: a library said 1,Standard error, seed 2: a library said 2,Standard error, seed 3: a library said 3"
    );
    browser.key("Escape", 0);
    assert_eq!(browser.text("document.activeElement.textContent"), "beta 16", "the focus returns");

    // What failed, and why.
    browser.click("document.querySelector('#failures tbody button')");
    browser.wait("document.querySelector('dialog[open] pre')");
    let text = browser.text("document.querySelector('dialog').innerText");
    for expected in
        ["no convergence\nafter <10> rounds", "This is its second attempt.", "first <b>words</b>\nlast words"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(browser.text(&format!("{log}.join()")), "phase|seconds,fit|2.5,whole process|1.5");
    browser.key("Escape", 0);

    // Points of a figure.
    let figure = "document.querySelector('#d0 figure .zoom')";
    browser.value(&format!("{figure}.focus()"));
    browser.wait(&format!("{figure}.querySelector('.mark')"));
    browser.point(&format!("{figure}.querySelectorAll('.mark')[5]"));
    let tip = browser.text(TIP);
    assert!(tip.starts_with("beta: normalized MSE 0.") && tip.contains("95% interval"), "{tip}");
    browser.click(&format!("{figure}.querySelectorAll('.mark')[5]"));
    browser.wait("document.querySelector('dialog[open] pre')");
    assert_eq!(browser.text(TITLE), "beta 32");
    browser.key("Escape", 0);
    browser.value(&format!("{figure}.focus()"));
    browser.key("ArrowRight", 0);
    browser.key("ArrowRight", 0);
    assert!(browser.text(TIP).starts_with("alpha: normalized MSE 0."), "{}", browser.text(TIP));
    browser.key("Enter", 0);
    browser.wait("document.querySelector('dialog[open] pre')");
    assert_eq!(browser.text(TITLE), "alpha 32");
    browser.key("Escape", 0);
    assert_eq!(browser.text(&format!("document.activeElement === {figure}")), "true", "the focus returns");

    // Zoom by keys, wheel and buttons.
    let scale = format!("new DOMMatrix(getComputedStyle({figure}.querySelector('svg')).transform).a");
    browser.key("+", 0);
    browser.wait(&format!("{scale} > 1.2"));
    browser.key("0", 0);
    browser.wait(&format!("{scale} === 1"));
    browser.wheel(figure, -100.0, 2);
    browser.wait(&format!("{scale} > 1.05"));
    let button = |number: usize| format!("document.querySelectorAll('#d0 figure .tools button')[{number}]");
    browser.click(&button(2));
    browser.wait(&format!("{scale} === 1"));
    browser.click(&button(0));
    browser.wait(&format!("{scale} > 1.2"));
    browser.click(&button(2));

    // Points that the filter leaves out are pale.
    browser.click("document.querySelector('#filters input[type=search]')");
    browser.type_text("-beta");
    assert_eq!(browser.text(&format!("{figure}.querySelectorAll('.mark.pale').length")), "4");

    // An address with a trial opens it.
    browser.open(&file, &state);
    browser.wait("document.querySelector('dialog[open] pre')");
    assert_eq!(browser.text(TITLE), "alpha 32");
    assert_eq!(browser.errors, Vec::<String>::new());
}

/// Texts whose contrast with their background is below 4.5, and parts that a screen reader cannot name.
const CONTRAST: &str = r"(() => {
    const channels = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const light = rgb => { const [r, g, b] = rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = one => { for (; one; one = one.parentElement) { const found = channels(getComputedStyle(one).backgroundColor); if (found.a > 0.99) return found.rgb; } return [255, 255, 255]; };
    const bad = [];
    for (const one of document.querySelectorAll('body *')) {
        if (one.closest('svg, script, :disabled, #tip') || !one.checkVisibility({ visibilityProperty: true })) continue;
        if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
        const [a, b] = [light(channels(getComputedStyle(one).color).rgb), light(behind(one))].sort((a, b) => b - a);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.push(one.tagName + ' ' + one.textContent.slice(0, 20) + ' ' + ratio.toFixed(2));
    }
    return bad.join('\n');
})()";

/// What the browser tells screen readers of parts that a reader uses, without a name.
fn nameless(browser: &mut Browser) -> Vec<String> {
    let tree = browser.send("Accessibility.getFullAXTree", json!({}));
    let used = [
        "button",
        "checkbox",
        "textbox",
        "searchbox",
        "spinbutton",
        "combobox",
        "link",
        "table",
        "dialog",
        "region",
        "img",
        "image",
        "application",
        "columnheader",
    ];
    let nodes = tree["nodes"].as_array().expect("a tree").iter();
    let found = nodes
        .filter(|node| node["ignored"] != json!(true) && used.contains(&node["role"]["value"].as_str().unwrap_or("")));
    let (named, bare): (Vec<_>, Vec<_>) =
        found.partition(|node| node["name"]["value"].as_str().is_some_and(|name| !name.trim().is_empty()));
    assert!(named.len() > 20, "a tree of the page");
    bare.into_iter().map(|node| node["role"].to_string()).collect()
}

#[test]
fn light_and_dark_on_a_desk_and_a_phone_everything_can_be_read_and_reached() {
    let Some(mut browser) = Browser::start() else { return };
    let (_folder, file) = saved(&page(&run(&SMALL, 60)));
    // The script of axe-core, where a workflow has fetched it.
    let axe = std::env::var_os("VQBENCH_AXE").map(|path| std::fs::read_to_string(path).expect("axe-core"));
    for (width, height, phone) in [(1300, 900, false), (390, 844, true)] {
        for dark in [false, true] {
            let what = format!("{width} pixels wide, dark: {dark}");
            browser.screen(width, height, phone, dark);
            browser.open(&file, "");
            let paper = browser.text("getComputedStyle(document.body).backgroundColor");
            assert_eq!(paper == "rgb(255, 255, 255)", !dark, "{what}: {paper}");
            for opened in [false, true] {
                if opened {
                    browser.click("document.querySelector('#d0 button.open')");
                    browser.wait("document.querySelector('dialog[open] pre')");
                }
                let wide = browser.text("[document.documentElement.scrollWidth - innerWidth, (document.querySelector('dialog[open]')?.getBoundingClientRect().right ?? 0) - innerWidth].map(by => by > 0).join()");
                assert_eq!(wide, "false,false", "{what}: nothing stands out to the right");
                assert_eq!(browser.text(CONTRAST), "", "{what}, dialog: {opened}");
                assert_eq!(nameless(&mut browser), Vec::<String>::new(), "{what}, dialog: {opened}");
                if let Some(axe) = &axe {
                    browser.value(&format!("{axe}\n; 0"));
                    let found = browser.text("axe.run(document).then(found => found.violations.map(one => one.id + ': ' + one.nodes.map(node => node.target).join(' ')).join('\\n'))");
                    assert_eq!(found, "", "axe-core, {what}, dialog: {opened}");
                }
            }
            browser.key("Escape", 0);
        }
    }
    // A phone shows the most important columns.
    assert_eq!(
        browser.text("[...document.querySelectorAll('#d0 thead th')].filter(head => !head.hidden).length < 8"),
        "true"
    );
    // The order of the Tab key is that of the page.
    browser.screen(1300, 900, false, false);
    browser.open(&file, "");
    browser.value("window.visited = []; document.addEventListener('focusin', event => visited.push(event.target)); 0");
    (0..40).for_each(|_| browser.key("Tab", 0));
    let order = "visited.every((one, i) => i === 0 || visited[i - 1].compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING)";
    assert_eq!(browser.text(&format!("visited.length >= 30 && {order}")), "true");
    assert_eq!(browser.errors, Vec::<String>::new());
}

#[test]
fn ten_thousand_trials_fit_into_a_page() {
    // Many datasets, and many methods on one.
    let many = [
        Size { datasets: 10, methods: 20, rates: 50, seeds: 1 },
        Size { datasets: 1, methods: 250, rates: 20, seeds: 2 },
    ];
    let pages: Vec<String> = std::thread::scope(|scope| {
        let made: Vec<_> = many.iter().map(|size| scope.spawn(|| page(&run(size, 3)))).collect();
        made.into_iter().map(|page| page.join().expect("a page")).collect()
    });
    let sizes: Vec<usize> = pages.iter().map(String::len).collect();
    println!("bytes of the pages: {sizes:?}");
    assert!(sizes.iter().all(|size| *size < 2_000_000), "{sizes:?}");
    let Some(mut browser) = Browser::start() else { return };
    browser.screen(1300, 900, false, false);
    for (html, (all, some)) in pages.iter().zip([(10_000, 50), (5_000, 20)]) {
        let (_folder, file) = saved(html);
        browser.open(&file, "");
        assert_eq!(browser.text("document.querySelectorAll('#d0 tbody tr').length"), "100", "a part of the rows");
        let numbers = "document.querySelector('#filters output').value.replaceAll(',', '')";
        assert_eq!(browser.text(numbers), format!("{all} methods"));
        let first = browser.text(SHOWN);
        browser.click("document.querySelector('#d0 .pager button:last-child')");
        assert_ne!(browser.text(SHOWN), first);
        browser.click("document.querySelector('#filters input[type=search]')");
        browser.type_text("gamma");
        assert_eq!(browser.text(&format!("{numbers}.split(' ')[0]")), (some * many_datasets(html)).to_string());
        browser.click("document.querySelector('#d0 tbody tr td')");
        browser.wait("document.querySelector('dialog[open] pre')");
        let text = browser.text("document.querySelector('dialog').innerText");
        // There is room for what matters most, and the dialog says what there was no room for.
        for expected in [
            "nested: { rounds: 3 }",
            "throughput\t",
            "a library said 1",
            "Left out, so that this page stays small: values that are no column of the table; values of single parts of the code; training curves.",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        browser.key("Escape", 0);
        // A packed figure is unpacked when it comes into view.
        if html.contains("class=\"packed\"") {
            browser.value("document.querySelector('script.packed').closest('figure').scrollIntoView()");
            browser.wait("[...document.querySelectorAll('figure.drawn')].some(one => one.querySelector('svg') && !one.querySelector('script') && one.getBoundingClientRect().top < innerHeight)");
        }
        assert_eq!(browser.errors, Vec::<String>::new());
    }
}

#[test]
fn a_page_stays_small_whatever_trials_write() {
    // Failed trials alone, each with as much on standard error as a log keeps.
    let mut run = run(&Size { datasets: 1, methods: 100, rates: 20, seeds: 1 }, 0);
    for (i, record) in run.records.iter_mut().enumerate() {
        record.status = Status::Failed;
        record.values.clear();
        record.reason = Some("no convergence".into());
        let log = record.log.as_mut().expect("a log");
        log.standard_error = (0..256).map(|line| format!("{:015x}\n", noise_bits([i, line, 0]))).collect();
    }
    let html = page(&run);
    assert!(html.len() < 2_000_000, "{}", html.len());
    let Some(mut browser) = Browser::start() else { return };
    browser.screen(1300, 900, false, false);
    let (_folder, file) = saved(&html);
    browser.open(&file, "");
    browser.click("document.querySelector('#failures tbody button')");
    browser.wait("document.querySelector('dialog[open] pre')");
    let text = browser.text("document.querySelector('dialog').innerText");
    assert!(text.contains("throughput\t"), "{text}");
    assert!(text.contains("Left out, so that this page stays small: what trials wrote on standard error."), "{text}");
    assert_eq!(browser.errors, Vec::<String>::new());
}

/// Number of sections about a dataset.
fn many_datasets(html: &str) -> usize {
    html.matches("<section id=\"d").count() - html.matches("<section id=\"differences\"").count()
}
