"""An exported folder on a model hub. Nothing is sent unless a user asks for it."""

from __future__ import annotations

from pathlib import Path

from kdh_ray.errors import UnavailableError
from kdh_ray.storage import one_line


def check_repository(name: str) -> None:
    """Check that a repository has a name that a hub takes; nothing is sent.

    Raises:
        UnavailableError: States the rule.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is documented

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UnavailableError(f"a repository is named owner/name; got {name!r} ({one_line(error)})") from None


def push_to_hub(folder: Path, repository: str) -> str:
    """Upload a folder to a repository of the Hugging Face hub, or of the hub that ``HF_ENDPOINT`` names.

    A repository that doesn't exist is made, and is private. The hub's own login is used (``hf auth login``).

    Args:
        folder: Written by an export.
        repository: ``owner/name``.

    Returns:
        The address of the commit.

    Raises:
        UnavailableError: If the name is not one of a repository, nobody is logged in, or the hub refuses or can't be
            reached.
    """
    from huggingface_hub import HfApi

    check_repository(repository)
    hub = HfApi()
    try:
        hub.create_repo(repository, repo_type="model", private=True, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository, folder_path=folder, repo_type="model", commit_message="Upload an export of kdh-ray"
        )
    except Exception as error:  # the client's versions raise the errors of three HTTP libraries
        raise UnavailableError(
            f"{repository} can't be uploaded to {hub.endpoint}: {one_line(error)}; the export itself is in {folder}"
        ) from None
    return str(commit.commit_url)
