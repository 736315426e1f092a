"""What runs at every visit: page config, navigation, the frame. Nothing else."""

import streamlit as st

from core.common.devices import prepare_server

prepare_server()  # Thread counts must be set before anything imports torch.

from core.common.access import read_only  # noqa: E402
from core.common.errors import LabError  # noqa: E402
from pages.shared.elements import STYLE  # noqa: E402
from pages.shared.missing import missing_page  # noqa: E402
from pages.shared.registry import sections  # noqa: E402
from pages.shared.sidebar import ICON, sidebar  # noqa: E402
from pages.shared.url import visit  # noqa: E402
from pages.shared.warmup import warm_up_in_background  # noqa: E402

st.set_page_config(page_title="Bottleneck Lab", page_icon=ICON, layout="wide")

try:
    read_only()  # said once, where its value is not valid
    rooms = sections()
except LabError as error:
    st.error(str(error))
    st.stop()
# Expanded, or from the thirteenth page on the last ones hide behind "View more".
listed = {name: [room.for_streamlit() for room in found] for name, found in rooms.items()}
page = st.navigation(listed | {"": missing_page()}, expanded=True)
st.html(STYLE)
sidebar()
try:
    with visit(page.url_path):
        page.run()
finally:
    warm_up_in_background()
