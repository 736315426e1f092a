"""Every dataset with its images and what is wrong with it; photos of one's own are added here."""

from pages.shared.registry import Page

PAGE = Page(
    name="datasets",
    title="Datasets",
    icon=":material/photo_library:",
    section="Data",
    question="What is in my data, and what is wrong with it?",
    views={
        "All datasets": "What can a network learn from here?",
        "Add photos": "Upload a folder or a zip archive of photos, and read what is wrong with them.",
    },
)
