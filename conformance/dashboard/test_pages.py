"""What people do on the pages: look, search, open, download, change the language; with and without a script."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, expect

from .conftest import OpenPage, Registrations

SCHEMA = 'swagger: "2.0"\ninfo:\n  title: orders <b>1</b>\n'


class Shop(NamedTuple):
    gateway: str
    orders: str


@pytest.fixture(scope="module")
def shop(registrations: Registrations) -> Shop:
    """gateway calls orders, orders calls CARTS of Eureka's world and one that is not there."""
    for number in range(3):
        assert registrations.eureka("CARTS", f"carts-{number}", status="UP" if number else "DOWN") == 204
    orders = registrations.service("orders", schemas=["orders", "audit"], properties={"owner": "checkout"})
    gateway = registrations.service("gateway", description="The only door")
    assert registrations.instance(orders) == registrations.instance(gateway) == 200
    assert registrations.schema(orders, "orders", SCHEMA) == 200
    for consumer, provider in ((gateway, "orders"), (orders, "carts"), (orders, "nobody")):
        registrations.find(consumer, provider)
    return Shop(gateway, orders)


def paths(shop: Shop) -> list[str]:
    service = f"/services/{shop.orders}"
    tabs = [f"{service}?tab={tab}" for tab in ("instances", "providers", "consumers", "schemas", "properties")]
    return ["/", "/services", "/topology", "/lastn", *tabs, f"{service}/schemas/orders"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_loads_in_every_language(shop: Shop, open_page: OpenPage, language: str) -> None:
    page = open_page("/")

    for path in paths(shop):
        page.goto(f"{path}{'&' if '?' in path else '?'}lang={language}")
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page.locator("#live")).to_have_class("live")


def test_no_page_needs_a_script(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services", java_script_enabled=False)

    page.get_by_role("searchbox").fill("ord")
    page.get_by_role("button").click()
    page.get_by_role("link", name="orders").click()
    page.get_by_role("link", name="Schemas").click()

    assert "declared, no content" in page.locator("main").inner_text()


def test_services_of_both_worlds_are_counted_and_listed(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services")

    expect(page.locator(".counts b")).to_have_text(["3", "5", "3", "2"])
    assert page.locator("table a.name").all_inner_texts() == ["carts", "gateway", "orders"]


def test_the_search_narrows_the_list_while_one_types(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services")

    page.get_by_role("searchbox").press_sequentially("GATE")

    expect(page.locator("table a.name")).to_have_text(["gateway"])
    expect(page).to_have_url("/services?q=GATE")


def test_the_tabs_of_a_service_show_who_calls_it_and_whom_it_calls(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services")

    page.get_by_role("link", name="orders").click()
    expect(page.locator("#tab-instances code").nth(1)).to_have_text("rest://10.0.0.2:9090")
    page.get_by_role("link", name="Providers 2").click()
    expect(page.locator("#tab-providers tbody td:first-child")).to_have_text(["carts", "nobody"])
    page.get_by_role("link", name="Consumers 1").click()
    expect(page.locator("#tab-consumers a.name")).to_have_text(["gateway"])
    page.get_by_role("link", name="Properties").click()
    expect(page.locator("#tab-properties dl")).to_have_text("ownercheckout")


def test_an_application_of_eurekas_world_has_its_consumers_too(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services?q=carts")

    page.get_by_role("link", name="carts").click()
    page.get_by_role("link", name="Consumers").click()

    expect(page.locator("#tab-consumers a.name")).to_have_text(["orders"])


def test_a_schema_is_shown_and_downloaded_as_it_was_stored(shop: Shop, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(f"/services/{shop.orders}?tab=schemas")

    page.get_by_role("link", name="View", exact=True).click()
    expect(page.locator("pre.schema")).to_have_text(SCHEMA)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    downloading.value.save_as(tmp_path / "got")

    assert downloading.value.suggested_filename == "orders.yaml"
    assert (tmp_path / "got").read_text() == SCHEMA


def test_the_picture_shows_who_calls_whom_and_leads_to_them(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/topology")

    # At once: what is on the page is replaced whenever something happens.
    at = page.locator("svg .box").evaluate_all(
        "(boxes) => Object.fromEntries(boxes.map((one) =>"
        " [one.querySelector('.called').textContent, Number(one.querySelector('rect').getAttribute('x'))]))"
    )
    assert at["gateway"] < at["orders"] < at["carts"] == at["nobody"]
    expect(page.locator("svg .missing .under")).to_contain_text("not registered")
    page.locator("svg a", has_text="carts").click()
    expect(page.locator("h2")).to_contain_text("carts")


def test_the_language_is_changed_with_a_click_and_stays(shop: Shop, open_page: OpenPage) -> None:
    page = open_page("/services")

    page.get_by_role("link", name="中文").click()
    page.get_by_role("link", name="拓扑图").click()

    expect(page.locator("h2")).to_have_text("调用关系")


def test_a_chinese_browser_is_greeted_in_chinese(shop: Shop, open_page: OpenPage) -> None:
    expect(open_page("/services", locale="zh-CN").locator("h2")).to_have_text("服务")


def test_what_registers_appears_without_a_reload_and_what_was_opened_stays_open(
    shop: Shop, open_page: OpenPage, registrations: Registrations
) -> None:
    page = open_page("/")
    expect(page.locator("#live")).to_have_class("live")
    page.locator("details.application", has_text="CARTS").locator("summary").first.click()

    registrations.eureka("NEWCOMER", "newcomer-1")

    expect(page.locator("details.application", has_text="NEWCOMER")).to_be_visible()
    assert page.locator("details[data-name=CARTS]").get_attribute("open") is None


def test_a_page_follows_the_colours_of_the_system(shop: Shop, open_page: OpenPage) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"

    light, dark = (open_page("/topology", color_scheme=one).evaluate(ground) for one in ("light", "dark"))

    assert light != dark


def test_an_operator_takes_an_instance_out_of_service_and_puts_it_back(
    open_page: OpenPage, registrations: Registrations
) -> None:
    """Drained in one protocol is drained in the other."""
    registrations.eureka("DRAINED", "drained-1")
    page = open_page("/services?q=drained")
    page.get_by_role("link", name="drained").click()

    page.get_by_text("Take out of service").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#tab-instances .status")).to_have_text("OUT_OF_SERVICE")
    drained = registrations.status("DRAINED", "drained-1")
    page.get_by_role("button", name="Put back").click()
    expect(page.locator("#tab-instances .status")).to_have_text("UP")

    assert (drained, registrations.status("DRAINED", "drained-1")) == ("OUT_OF_SERVICE", "UP")


def test_a_page_of_another_site_changes_nothing(browser: Browser, url: str, registrations: Registrations) -> None:
    """S18: also one that has got hold of a token, in the browser that is used for our pages."""
    registrations.eureka("COVETED", "coveted-1")
    context = browser.new_context(base_url=url)
    page = context.new_page()
    page.goto("/services?q=coveted")
    page.get_by_role("link", name="coveted").click()
    form = page.locator("#tab-instances form").evaluate(
        '(form) => form.outerHTML.replace(/action="/, `action="${origin}`)'
    )
    context.route("http://elsewhere.test/", lambda route: route.fulfill(body=form, content_type="text/html"))

    page.goto("http://elsewhere.test/")
    with page.expect_response(lambda response: response.request.method == "POST") as answering:
        page.evaluate("document.forms[0].submit()")

    assert answering.value.status == 403
    assert registrations.status("COVETED", "coveted-1") == "UP"
    context.close()
