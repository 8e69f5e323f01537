"""What REST and the command line do, done in a browser: policies, data, curves and episodes."""

import pytest

from tests.browser.browser import Tab
from tests.browser.lab import CHECKPOINTS, DREAM, RETURNS, ROWS, dream, published, refused


@pytest.fixture(scope="module")
def operator(played, opened):
    return Tab(opened, played.port, played.token)


@pytest.fixture
def tab(operator):
    """The operator's page, which must have been free of errors in the end."""
    yield operator
    errors, operator.errors[:] = [*operator.errors], []
    assert errors == []
    assert operator.foreign == []


def choose(tab, name, text):
    tab.mark(name).click()
    tab.page.locator(".q-menu .q-item", has_text=text).first.click()
    tab.page.keyboard.press("Escape")


def series(tab, mark):
    """Names of the curves that are drawn, with their values."""
    return tab.page.evaluate(
        """(mark) => {
          const id = document.querySelector(`[data-mark='${mark}']`)?.id.slice(1);
          const drawn = (id && getElement(Number(id))?.chart?.getOption().series) ?? [];
          return Object.fromEntries(
            drawn.filter((one) => one.id[0] !== "~").map((one) => [one.name, one.data]));
        }""",
        mark,
    )


def test_versions_are_pinned_promoted_rolled_back_and_tried(tab, played):
    path = f"/experiments/{played.ball}/rollout"
    tab.open(f"/experiments/{played.ball}/policies")
    tab.mark("promote-2").click()
    published(played, played.ball, 3)  # the table is made anew; the question stays
    tab.wait(lambda: tab.mark("version-3").count() == 1, "a new version")
    tab.mark("sure").click()
    tab.wait(lambda: "pinned" in tab.text("version-2"), "the promoted version")
    assert played.ask("GET", path)["pinned"] == 2
    tab.mark("roll-back").click()
    tab.wait(lambda: "pinned" in tab.text("version-1"), "the version before")
    assert played.ask("GET", path)["offered"] == 1
    tab.mark("canary-3").click()
    tab.mark("try-ball-1").click()
    tab.wait(lambda: "canary: ball-1" in tab.text("version-3"), "the canary")
    assert played.ask("GET", path)["canaries"] == {"ball-1": 3}
    assert played.house.fleet.own["ball-1", played.ball]["version"] == 3
    tab.mark("canary-3").click()
    tab.mark("end-ball-1").click()
    tab.wait(lambda: "canary" not in tab.text("version-3"), "the end of the trial")
    assert played.ask("GET", path)["canaries"] == {}
    tab.mark("pin-0").click()
    tab.wait(lambda: "pinned" in tab.text("version-0"), "the pinned version")
    tab.mark("unpin").click()
    tab.wait(lambda: "offered" in tab.text("version-3"), "the newest")
    assert played.ask("GET", path)["pinned"] is None


def test_a_version_is_compressed_and_both_sides_are_shown(tab, played):
    tab.open(f"/experiments/{played.ball}/policies")
    assert not tab.mark("compression-share").is_visible()
    tab.mark("compress-1").click()
    tab.mark("compress").click()
    tab.wait(lambda: "robots" in tab.text("compress-trouble"), "who is to move")
    field = tab.page.locator(".q-field:has([data-mark='compress-robots'])")
    assert "robots" in field.inner_text()
    tab.mark("compress-robots").fill("small-1")
    tab.page.keyboard.press("Enter")
    assert tab.mark("field-teachers").count() == 0  # is known
    tab.mark("field-widths").fill("[8, 8]")
    tab.mark("field-updates").fill("30")
    tab.mark("compress-name").fill("small ball")
    tab.mark("compress").click()
    tab.page.wait_for_url(lambda url: "policies" not in url)
    made = tab.page.url.rpartition("/")[2]
    about = played.ask("GET", f"/experiments/{made}")
    assert (about["agent"], about["state"], about["name"]) == ("distill", "running", "small ball")
    assert about["config"]["widths"] == [8, 8]
    assert about["settings"]["max_debt"] == 30
    published(played, made, 0)
    tab.open(f"/experiments/{made}/policies")
    tab.wait(lambda: "100 %" in tab.text("compression-share"), "sizes")
    assert "ball" in tab.text("compression-teacher")
    assert "2 (-0.484 to 4.5), 3 episodes" in tab.text("compression-teacher")
    assert "small ball" in tab.text("compression-student")


def test_curves_of_experiments_are_compared_and_told_again_in_a_file(tab, played):
    tab.open(f"/experiments/{played.ball}")
    tab.wait(lambda: len(series(tab, "curves").get("ball", ())) == 3, "its own curve")
    choose(tab, "compare", "arm")
    name = f"arm ({played.arm[:4]})"
    tab.wait(lambda: name in series(tab, "curves"), "another's beside it")
    last = {one: values[-1] for one, values in series(tab, "curves").items()}
    means = {one: sum(totals) / len(totals) for one, totals in RETURNS.items()}
    assert last == {"ball": [3 * ROWS, means["ball"]], name: [2 * ROWS, means["arm"]]}
    choose(tab, "metric", "share of steps by people")
    tab.wait(lambda: [y for _, y in series(tab, "curves")[name]] == [0, 0], "another metric")
    with tab.page.expect_download() as waiting:
        tab.mark("export-metrics").click()
    assert waiting.value.path().read_text().startswith("name,time,updates,rows,value")


def test_a_world_models_strip_is_shown_and_then_the_next(tab, played):
    tab.open(f"/experiments/{played.ball}")
    strip, width = tab.mark("dream-camera"), "(picture) => picture.naturalWidth"
    tab.wait(lambda: strip.count() == 1 and strip.evaluate(width) == 320, "the picture")
    words = tab.page.locator(".rows3").inner_text()
    assert words.split() == ["truth", "prediction", "error"]
    before = strip.get_attribute("src")
    assert DREAM in before

    async def act():
        dream(played.house, played.ball, 2)

    played.do(act())
    tab.wait(lambda: strip.get_attribute("src") != before, "the next picture")
    tab.wait(lambda: strip.evaluate(width) == 320)


AT = """() => {
  const id = document.querySelector("[data-mark='signals']").id.slice(1);
  return getElement(Number(id)).chart.getOption().xAxis.map((axis) => axis.axisPointer.value);
}"""


def test_the_slider_moves_the_picture_and_the_pointer_through_the_signals(tab, played):
    tab.open(f"/experiments/{played.ball}/episodes")
    picture = tab.mark("frame-camera")
    shown = "(picture) => [picture.naturalWidth, picture.src.split('/').pop()]"
    tab.wait(lambda: picture.count() and picture.evaluate(shown) == [18, "0.png"], "row 0")
    move = """(slider) => { slider.value = 7; slider.dispatchEvent(new Event("input")); }"""
    tab.page.locator("#episode-row").evaluate(move)
    tab.wait(lambda: picture.evaluate(shown) == [18, "7.png"], "the picture of row 7")
    assert tab.page.locator("#episode-at").inner_text() == "row 7"
    tab.wait(lambda: set(tab.page.evaluate(AT)) == {7}, "the pointer, through all signals")
    chart = tab.mark("signals").bounding_box()
    tab.page.mouse.move(chart["x"] + chart["width"] - 20, chart["y"] + 90)  # the last row
    tab.wait(lambda: picture.evaluate(shown) == [18, f"{ROWS - 1}.png"], "the last picture")
    tab.page.wait_for_timeout(1200)  # the page is shown anew meanwhile
    assert tab.page.locator("#episode-row").input_value() == str(ROWS - 1)
    with tab.page.expect_download() as waiting:
        tab.mark("video-camera").click()
    assert waiting.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_is_restored_where_the_state_allows_and_rows_are_verified(tab, played):
    old, new = CHECKPOINTS
    tab.open(f"/experiments/{played.arm}/data")
    tab.wait(lambda: "next start" in tab.text(f"checkpoint-{new}"))
    assert tab.mark(f"restore-{new}").is_disabled()  # it is the next to be used
    tab.mark(f"restore-{old}").click()
    tab.mark("sure").click()
    tab.wait(lambda: "next start" in tab.text(f"checkpoint-{old}"), "the restored one")
    assert "set aside" in tab.text(f"checkpoint-{new}")
    found = played.ask("GET", f"/experiments/{played.arm}/checkpoints")["items"]
    assert {one["number"]: one["aside"] for one in found} == {new: True, old: False}
    assert str(2 * ROWS) in tab.text("replay-rows")
    tab.mark("verify-replay").click()
    tab.wait(lambda: tab.mark("replay-state").is_visible())
    assert tab.text("replay-state") == "whole"
    played.ask("POST", f"/experiments/{played.arm}/start")
    tab.wait(lambda: tab.mark(f"restore-{new}").is_disabled(), "a learner works on them")
    assert "stop the experiment first" in tab.page.inner_text("body")


def test_episodes_are_exported_fetched_imported_and_begun_with(tab, played, tmp_path):
    tab.open(f"/experiments/{played.ball}/data")
    choose(tab, "export-format", "Minari")
    tab.mark("export-episodes").fill("0-1")
    tab.mark("export").click()
    tab.wait(lambda: "done" in tab.page.locator(".job").first.inner_text(), "the job's end")
    assert f"2 episodes, {2 * ROWS} rows" in tab.page.locator(".job").inner_text()
    (export,) = played.ask("GET", "/exports")
    with tab.page.expect_download() as waiting:
        tab.mark(f"download-{export}").click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    tab.open("/datasets")
    imported(tab, file)
    tab.mark(f"delete-export-{export}").first.click()
    tab.mark("sure").click()
    tab.wait(lambda: tab.mark(f"download-{export}").count() == 0, "the export gone")
    tab.mark("begin-shown").click()
    tab.page.wait_for_url("**/new?begins-with=shown")
    chips = tab.page.locator(".q-field:has([data-mark='field-demonstrations']) .q-chip")
    tab.wait(lambda: chips.count() == 1 and "shown" in chips.inner_text(), "what it begins with")
    tab.open("/datasets")
    tab.mark("delete-shown").click()
    tab.mark("sure").click()
    tab.wait(lambda: tab.mark("dataset-shown").count() == 0, "the dataset gone")
    assert played.ask("GET", "/datasets") == []
    tab.errors[:] = [e for e in tab.errors if "422" not in e]


def imported(tab, file):
    """By a wrong name, then by a right one; and checked."""
    tab.mark("import-file").set_input_files(file)
    tab.mark("import-name").fill("no name!")
    tab.mark("import").click()
    tab.wait(lambda: "letters, digits" in tab.text("import-said"), "what is wrong")
    tab.mark("import-name").fill("shown")
    choose(tab, "import-robot", "as ball-1")
    tab.wait(lambda: tab.page.locator("#import").get_attribute("data-robot") == "ball-1")
    with tab.page.expect_request("**/api/v1/datasets/shown*") as sent:
        tab.mark("import").click()
    assert sent.value.url.endswith("?robot=ball-1")
    tab.wait(lambda: tab.mark("dataset-shown").count() == 1, "the dataset")
    assert "Minari" in tab.text("dataset-shown")
    tab.mark("verify-shown").click()
    job = tab.page.locator(".job", has_text="verify shown")
    tab.wait(lambda: job.count() and f"whole: {2 * ROWS} rows" in job.inner_text(), "the check")


def test_names_are_changed_and_a_robots_refusal_is_told(tab, played):
    made = played.ask("POST", "/experiments", {"name": "first", "agent": "fake"}, 201)["id"]
    tab.open(f"/experiments/{made}")
    tab.mark("do-edit").click()
    tab.mark("edit-name").fill("second")
    tab.mark("edit-notes").fill("left of the door")
    tab.mark("edit-save").click()
    tab.wait(lambda: "left of the door" in tab.page.inner_text(".content"), "the notes")
    assert played.ask("GET", f"/experiments/{made}")["name"] == "second"
    tab.open("/")
    told = len(played.house.fleet.commands)
    tab.mark("reset-arm-1").click()
    tab.wait(lambda: played.house.fleet.commands[told:] == [("arm-1", "reset")], "the order")
    refused(played, "the gripper is open")
    tab.wait(lambda: "arm-1: the gripper is open" in tab.page.inner_text("body"), "why not")


def test_a_viewer_sees_it_all_and_changes_nothing(opened, played):
    viewer = Tab(opened, played.port, played.viewer)
    own = f"/experiments/{played.ball}"
    for path, there, marks in (
        (f"{own}/data", "replay-rows", ("export", "verify-replay")),
        (f"{own}/policies", "version-1", ("compress-1", "promote-1", "canary-1", "roll-back")),
        ("/datasets", "fleet-summary", ("import",)),
        (own, "export-metrics", ("do-edit",)),
    ):
        viewer.open(path)
        viewer.wait(lambda there=there: viewer.mark(there).is_visible(), path)
        assert {mark: viewer.mark(mark).count() for mark in marks} == dict.fromkeys(marks, 0)
    assert viewer.errors == []
    viewer.close()
